// SPDX-License-Identifier: Apache-2.0
import { ENDED, link, load, say } from "./link.js";

const { Terminal } = await load("./xterm/lib/xterm.mjs", "xterm.js");
const { FitAddon } = await load("./xterm-addon-fit/lib/addon-fit.mjs", "xterm.js");
const terminal = new Terminal({ cursorBlink: true });
const fit = new FitAddon();
terminal.loadAddon(fit);
terminal.open(document.getElementById("screen"));
fit.fit();
window.addEventListener("resize", () => fit.fit());

const socket = new WebSocket(link("serial"), "binary");
const encoder = new TextEncoder();
socket.binaryType = "arraybuffer";
socket.addEventListener("open", () => {
    say("Serial console. Press Enter if nothing shows.");
    terminal.focus();
});
socket.addEventListener("message", (event) => terminal.write(new Uint8Array(event.data)));
socket.addEventListener("close", () => say(ENDED));
terminal.onData((typed) => {
    if (socket.readyState === WebSocket.OPEN) {
        socket.send(encoder.encode(typed));
    }
});
