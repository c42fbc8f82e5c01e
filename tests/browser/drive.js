// SPDX-License-Identifier: MIT
// Opens a page of examples/web in headless Chromium, and says what it shows.
//
//   node drive.js watch|publish SERVED QUERY [SCREENSHOT]
//
// SERVED is the origin that serves the page, or its folder, which is then served at localhost.
// A line of JSON is printed once the picture moves and sounds, or the camera is sent.
// The page stays open until the standard input ends.
const fs = require("fs");
const http = require("http");
const path = require("path");
const { chromium } = require("playwright-core");

const PICTURES = 10;
const TIMEOUT = 50_000;
const FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css" };

async function serve(folder) {
    const server = http.createServer((request, response) => {
        const name = path.basename(new URL(request.url, "http://localhost").pathname) || "index.html";
        fs.readFile(path.join(folder, name), (error, data) => {
            response.writeHead(error ? 404 : 200, { "Content-Type": TYPES[path.extname(name)] ?? "text/plain" });
            response.end(data);
        });
    });
    await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
    return `http://localhost:${server.address().port}`;
}

// Runs in the page: waits for so many different pictures, then for sound.
async function watched(pictures) {
    const frame = () => new Promise(requestAnimationFrame);
    const canvas = document.querySelector("canvas");
    const seen = new Set();
    while (seen.size < pictures) {
        await frame();
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        seen.add(new Uint8Array(await crypto.subtle.digest("SHA-256", data)).join());
    }
    const { root } = document.querySelector("moq-watch").audio.out;
    const samples = new Float32Array(2048);
    let tapped, analyser;
    do {
        await frame();
        // A new catalog may replace it.
        if (root.peek() && root.peek() !== tapped) {
            tapped = root.peek();
            analyser = new AnalyserNode(tapped.context, { fftSize: samples.length });
            tapped.connect(analyser);
        }
        analyser?.getFloatTimeDomainData(samples);
    } while (samples.every((sample) => sample === 0));
    return { width: canvas.width, height: canvas.height };
}

async function drive([mode, served, query, screenshot]) {
    const ended = new Promise((end) => process.stdin.on("end", end).resume());
    const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
    try {
        const page = await browser.newPage({ viewport: { width: 800, height: 520 } });
        page.on("console", (message) => console.error(message.text()));
        page.on("pageerror", (error) => console.error(String(error)));
        page.setDefaultTimeout(TIMEOUT);
        const origin = served.startsWith("http") ? served : await serve(served);
        await page.goto(`${origin}/${mode === "watch" ? "" : "publish.html"}?${query}`);
        await page.click("button");
        const status = () => page.textContent("output");
        const seen = {};
        const timer = setTimeout(async () => {
            console.error("The page still says:", await status());
            await browser.close();
        }, TIMEOUT);
        if (mode === "watch") {
            Object.assign(seen, await page.evaluate(watched, PICTURES));
        } else {
            await page.waitForFunction(() => document.querySelector("output").value.includes("camera and microphone"));
        }
        clearTimeout(timer);
        seen.status = await status();
        if (screenshot) await page.screenshot({ path: screenshot });
        console.log(JSON.stringify(seen));
        await ended;
    } finally {
        await browser.close();
    }
}

drive(process.argv.slice(2)).then(() => process.exit(0), (error) => {
    console.error(String(error));
    process.exit(1);
});
