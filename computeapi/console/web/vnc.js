// SPDX-License-Identifier: Apache-2.0
import { ENDED, link, load, say } from "./link.js";

const { default: RFB } = await load("./novnc/core/rfb.js", "noVNC");
const rfb = new RFB(document.getElementById("screen"), link("vnc"), { shared: true });
const keys = document.getElementById("keys");

rfb.scaleViewport = true;
rfb.addEventListener("connect", () => {
    keys.hidden = false;
    rfb.focus();
});
rfb.addEventListener("desktopname", (event) => say(event.detail.name));
rfb.addEventListener("disconnect", () => {
    keys.hidden = true;
    say(ENDED);
});
keys.addEventListener("click", () => {
    rfb.sendCtrlAltDel();
    rfb.focus();
});
