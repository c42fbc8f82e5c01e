// SPDX-License-Identifier: MIT
// Plays a broadcast with shaka-player in headless Chromium.
//
//   node shaka.js URL BROADCAST FINGERPRINT_URL
//
// A line is printed for each picture: when it was shown in ms since the Unix epoch, its width, and the number that
// is in it. Ends with its standard input.
const fs = require("fs");
const http = require("http");
const { chromium } = require("playwright-core");

const FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"];
// What tests/common/barcode.rs writes: white, black, then the number, the lowest bit first.
const BLOCKS = 16;

// Runs in the page.
async function play({ url, broadcast, fingerprintUri, blocks }) {
    const video = document.querySelector("video");
    const canvas = new OffscreenCanvas(blocks, 2);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const onFrame = (now) => {
        const { videoWidth: width, videoHeight: height } = video;
        context.drawImage(video, 0, height / 8, width, height / 4, 0, 0, blocks, 2);
        const { data } = context.getImageData(0, 0, blocks, 1);
        let number = 0;
        for (let bit = 0; bit < blocks - 2; bit += 1) {
            number += data[(bit + 2) * 4] > 125 ? 2 ** bit : 0;
        }
        report(`${performance.timeOrigin + now} ${width} ${number}`);
        video.requestVideoFrameCallback(onFrame);
    };
    video.requestVideoFrameCallback(onFrame);
    const player = new shaka.Player();
    await player.attach(video);
    player.addEventListener("error", ({ detail }) => report(`error ${detail.code} ${detail.data}`));
    player.configure({ manifest: { msf: { namespaces: [broadcast], fingerprintUri } } });
    await player.load(url, null, "application/msf");
    const tracks = player.getVariantTracks().map(({ width, bandwidth }) => `${width}@${bandwidth}`);
    report(`tracks ${tracks.join(", ")}`);
    await video.play();
}

async function main([url, broadcast, fingerprintUri]) {
    const ended = new Promise((end) => process.stdin.on("end", end).resume());
    const script = fs.readFileSync(require.resolve("shaka-player/dist/shaka-player.experimental.js"));
    const server = http.createServer((request, response) => {
        const isScript = request.url.endsWith(".js");
        response.writeHead(200, { "Content-Type": isScript ? "text/javascript" : "text/html" });
        response.end(isScript ? script : "<!DOCTYPE html><video muted></video><script src=shaka.js></script>");
    });
    await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
    const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.log(`error ${error.message}`));
    await page.exposeFunction("report", (line) => console.log(line));
    await page.goto(`http://localhost:${server.address().port}/`);
    page.evaluate(play, { url, broadcast, fingerprintUri, blocks: BLOCKS })
        .catch((error) => console.log(`error ${error.message}`));
    await ended;
    await browser.close();
    server.close();
}

main(process.argv.slice(2));
