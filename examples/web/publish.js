// SPDX-License-Identifier: MIT
import "@moq/publish/element";
import { connect } from "./page.js";

const publisher = document.querySelector("moq-publish");
const button = document.querySelector("button");

connect(publisher, "cam.hang", "VideoEncoder", (effect, name, { version }) => {
    const { video, audio } = publisher.broadcast;
    const sent = [effect.get(video.source) && "camera", effect.get(audio.source) && "microphone"];
    return `${name}: ${sent.filter(Boolean).join(" and ") || "nothing yet"} (${version})`;
});

button.onclick = () => {
    publisher.source = publisher.source ? undefined : "camera";
    button.textContent = publisher.source ? "Stop" : "Start";
};
