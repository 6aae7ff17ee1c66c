// SPDX-License-Identifier: Apache-2.0
import { ENDED, link, load, say } from "./link.js";

const { SpiceMainConn, sendCtrlAltDel } = await load("./spice-html5/src/main.js", "spice-html5");
const keys = document.getElementById("keys");
const spice = new SpiceMainConn({
    uri: link("spice"),
    screen_id: "spice-screen",
    password: "",
    onsuccess: () => {
        say("SPICE");
        keys.hidden = false;
    },
    onerror: () => {
        keys.hidden = true;
        say(ENDED);
        spice.stop();
    },
});
keys.addEventListener("click", () => sendCtrlAltDel(spice));
