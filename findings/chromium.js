// Feeds fragmented MP4 files to a <video> through MSE, or whole files by URL,
// and prints one line for each: chromium.js mse:FILE[:LOST,LOST..] | url:FILE
// LOST counts fragments from 1; MIME in the environment is the type for MSE.
// audio:FILE decodes the file's audio at 48 kHz. Headless, on this machine only.
const { chromium } = require(process.env.T + '/node_modules/playwright-core');
const fs = require('fs');
const flags = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required'];

function parts(d) {
  const out = [[]];
  for (let o = 0; o < d.length;) {
    const n = d.readUInt32BE(o), type = d.toString('latin1', o + 4, o + 8);
    if (type === 'moof') out.push([]);
    if (type !== 'mfra') out.at(-1).push(d.subarray(o, o + n));
    o += n;
  }
  return out.map(p => Buffer.concat(p).toString('base64'));
}

async function inPage({ chunks, url, audio, mime }) {
  const bytes = s => Uint8Array.from(atob(s), c => c.charCodeAt(0));
  if (audio) return (await new OfflineAudioContext(1, 1, 48000).decodeAudioData(bytes(audio).buffer)).length;
  const v = document.body.appendChild(document.createElement('video'));
  v.muted = true;
  let ranges = '-';
  const times = [];
  const frame = (_, m) => { times.push(m.mediaTime); v.requestVideoFrameCallback(frame); };
  v.requestVideoFrameCallback(frame);
  if (url) {
    v.src = URL.createObjectURL(new Blob([bytes(url)], { type: 'video/mp4' }));
  } else {
    const ms = new MediaSource();
    v.src = URL.createObjectURL(ms);
    await new Promise(r => { ms.onsourceopen = r; });
    const sb = ms.addSourceBuffer(mime);
    for (const c of chunks) {
      sb.appendBuffer(bytes(c));
      await new Promise((r, no) => { sb.onupdateend = r; sb.onerror = () => no(new Error('append')); });
    }
    ranges = [...Array(sb.buffered.length).keys()]
      .map(i => `${+sb.buffered.start(i).toFixed(6)}-${+sb.buffered.end(i).toFixed(6)}`).join(' ');
    ms.endOfStream();
  }
  v.play().catch(() => 0);
  await new Promise(r => setTimeout(r, 4500));
  return { ranges, first: times.length ? +times[0].toFixed(3) : null, at: +v.currentTime.toFixed(1), ended: v.ended,
    frames: v.getVideoPlaybackQuality().totalVideoFrames, painted: times.length, error: v.error && v.error.message };
}

(async () => {
  const b = await chromium.launch({ executablePath: '/usr/bin/chromium', args: flags });
  for (const a of process.argv.slice(2)) {
    const [how, file, lost] = a.split(':'), d = fs.readFileSync(file);
    const gone = (lost || '').split(',').map(Number);
    const p = await b.newPage();
    await p.setContent('<body>');
    const mime = process.env.MIME || 'video/mp4; codecs="avc1.64001f"';
    const input = how === 'mse' ? { mime, chunks: parts(d).filter((_, i) => !i || !gone.includes(i)) } : { [how]: d.toString('base64') };
    const r = await p.evaluate(inPage, input);
    console.log(how === 'audio' ? `${r} samples` : `ranges ${r.ranges}; first ${r.first}; at ${r.at}; ended ${r.ended}; frames ${r.frames}; error ${r.error}`);
    await p.close();
  }
  await b.close();
})().catch(e => { console.error(String(e)); process.exit(1); });
