// SPDX-License-Identifier: Apache-2.0
// What all console pages share: the way to the proxy that served the page, and the line that says how it is.

/** The websocket of a console: beside the page, with the token that the page was asked for with. */
export function link(kind) {
    const query = new URLSearchParams(location.search);
    // Nova's own URLs for noVNC have the token in a path: vnc_auto.html?path=%3Ftoken%3D…
    const inPath = new URLSearchParams((query.get("path") || "").split("?")[1] || "");
    const url = new URL(`websockify/${kind}`, location);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.search = new URLSearchParams({ token: query.get("token") || inPath.get("token") || "" });
    return url.href;
}

export function say(text) {
    document.getElementById("status").textContent = text;
}

/** A library of the browser's side; where it was not installed the page says so. */
export async function load(path, name) {
    try {
        return await import(path);
    } catch (error) {
        say(`${name} is not installed on this host: run tools/lib/console-web there.`);
        throw error;
    }
}

export const ENDED = "The console has ended, or its URL has expired: ask for a new one.";
