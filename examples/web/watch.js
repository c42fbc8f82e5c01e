// SPDX-License-Identifier: MIT
import "@moq/watch/element";
import { connect } from "./page.js";

const player = document.querySelector("moq-watch");
const button = document.querySelector("button");

connect(player, "clip.hang", "VideoDecoder", (effect, name, { transport, version }) => {
    const how = { webtransport: "WebTransport", websocket: "WebSocket" }[transport];
    return `${name}: ${effect.get(player.broadcast.out.status)} (${how}, ${version})`;
});

// Browsers play no sound before the first click.
button.onclick = () => {
    player.muted = !player.muted;
    button.textContent = player.muted ? "Turn the sound on" : "Turn the sound off";
};
