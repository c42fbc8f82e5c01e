// SPDX-License-Identifier: MIT
//! The plugin in GStreamer's own tools, as real processes.

use std::{
    env, fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use hang::catalog::Container;
use tempfile::TempDir;

use crate::common::{
    self, Packets, Relay, Running, Viewer,
    media::{CLIP_FRAMES, Video, clip, moqsink, publish_live},
    unique_broadcast,
};

/// How long a tool may take to do what is asked of it; the first one scans all plugins.
const BOUND: Duration = Duration::from_secs(60);

/// What `gst-launch-1.0 -v` says of each buffer that passes an identity.
const CHAIN: &str = "chain   ******* (identity0:sink)";

/// A folder with the plugin alone, and the registry of those who use it.
pub(super) struct Installed(TempDir);

impl Installed {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let test = env::current_exe().expect("the test is a file");
        let built = test.parent().expect("in a folder").join("libgstmoq.so");
        let plugins = folder.path().join("plugins");
        fs::create_dir(&plugins).expect("a folder for the plugin");
        fs::copy(&built, plugins.join("libgstmoq.so"))
            .expect("the plugin is built beside the test");
        Self(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Starts a tool of GStreamer that finds the plugin.
    pub(super) fn start(&self, tool: &str, line: &str, env: &[(&str, &str)]) -> Tool {
        let mut command = Command::new(tool);
        command
            .args(words(line))
            .env("GST_PLUGIN_PATH", self.file("plugins"))
            .env("GST_REGISTRY", self.file("registry"))
            // Fatal warnings are the tests' own: a tool warns of plugins that are none of ours.
            .env_remove("G_DEBUG")
            .env_remove("GST_DEBUG")
            .env("LC_ALL", "C")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Tool::start(&mut command)
    }
}

/// The words of a launch line, without the quotes that a shell would take away.
fn words(line: &str) -> Vec<String> {
    let words = line.split_whitespace();
    words.map(|word| word.replace('"', "")).collect()
}

/// A running tool, killed when it is dropped.
pub(super) struct Tool {
    child: Child,
    output: mpsc::Receiver<String>,
    readers: Vec<JoinHandle<()>>,
    text: String,
}

impl Tool {
    fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().expect("GStreamer's tools are installed");
        let (sender, output) = mpsc::channel();
        let readers = vec![
            read(child.stdout.take().expect("piped"), sender.clone()),
            read(child.stderr.take().expect("piped"), sender),
        ];
        Self {
            child,
            output,
            readers,
            text: String::new(),
        }
    }

    /// Waits until the tool has said `hint` so many times.
    fn wait_output(&mut self, hint: &str, count: usize) {
        let end = Instant::now() + BOUND;
        while self.text.matches(hint).count() < count {
            let left = end.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(text) => self.text.push_str(&text),
                Err(_) => panic!("the tool says \"{hint}\": {}", self.text),
            }
        }
    }

    /// Presses Ctrl-C.
    fn interrupt(&self) {
        let kill = format!("kill -INT {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.expect("a shell").success(), "the tool still runs");
    }

    /// Waits for the end: whether it was a success, and all that was said.
    pub(super) fn finish(mut self) -> (bool, String) {
        let end = Instant::now() + BOUND;
        // The outputs end with the tool.
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(text) => self.text.push_str(&text),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("the tool ends within {BOUND:?}: {}", self.text)
                }
            }
        }
        let status = self.child.wait().expect("the tool has ended");
        for reader in self.readers.drain(..) {
            reader.join().expect("reading does not panic");
        }
        (status.success(), std::mem::take(&mut self.text))
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // Refused when it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(mut output: impl Read + Send + 'static, sender: mpsc::Sender<String>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
            if sender.send(text).is_err() {
                return;
            }
        }
    })
}

fn decoded_frames(file: &Path) -> usize {
    let player = Running::launch(&format!(
        "filesrc location=\"{}\" ! qtdemux ! h264parse ! avdec_h264 ! fakesink name=out sync=false",
        file.display()
    ));
    let pictures = Packets::into_sink(&player.element("out"));
    player.start();
    player.wait_eos();
    pictures.count()
}

fn source(url: &str, broadcast: &str) -> String {
    format!("moqsrc url={url} broadcast={broadcast} tls-disable-verify=true")
}

#[test]
fn gst_inspect_lists_what_the_plugin_has() {
    let installed = Installed::new();
    let (success, text) = installed.start("gst-inspect-1.0", "moq", &[]).finish();
    assert!(success, "{text}");
    for feature in [
        "moqsink: MoQ sink",
        "moqsrc: MoQ source",
        "moqdeviceprovider: MoQ device provider",
    ] {
        assert!(text.contains(feature), "{feature}: {text}");
    }
    assert!(text.contains("MIT/X11"), "{text}");
}

#[test]
fn a_recording_that_is_ended_by_ctrl_c_can_be_played() {
    common::init();
    let installed = Installed::new();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("launch");
    let _publisher = Running::play(&format!(
        "{} ! moq.sink_0 {}",
        Video::default().live(),
        moqsink(&relay.url(), &broadcast)
    ));
    let file = installed.file("recording.mp4");
    let line = format!(
        "-e {} ! h264parse ! identity silent=false ! mp4mux ! filesink location={}",
        source(&relay.url(), &broadcast),
        file.display()
    );
    let mut tool = installed.start("gst-launch-1.0", &format!("-v {line}"), &[]);
    tool.wait_output(CHAIN, 30);
    tool.interrupt();
    let (success, text) = tool.finish();
    assert!(success, "{text}");
    assert!(text.contains("Got EOS from element"), "{text}");
    let passed = text.matches(CHAIN).count();
    let frames = decoded_frames(&file);
    assert!(frames >= 30, "{frames} of {passed} frames");
    assert_eq!(frames, passed, "every frame that came is in the file");
}

#[test]
fn ctrl_c_ends_the_wait_for_a_broadcast_that_never_comes() {
    let installed = Installed::new();
    let relay = Relay::start().expect("the relay starts");
    let line = format!("-e {} ! fakesink", source(&relay.url(), "nobody"));
    let mut tool = installed.start("gst-launch-1.0", &line, &[]);
    tool.wait_output("PLAYING", 1);
    tool.interrupt();
    let (_, text) = tool.finish();
    assert!(text.contains("ERROR: from element"), "{text}");
    assert!(text.contains("was not found"), "{text}");
}

#[test]
fn a_relay_that_is_not_there_yet_does_not_hold_up_the_start() {
    let installed = Installed::new();
    let port = Relay::free_port().expect("a port");
    let line = format!("-e -m {} ! fakesink", source(&Relay::url_at(port), "later"));
    let mut tool = installed.start("gst-launch-1.0", &line, &[]);
    tool.wait_output("moq-disconnected", 1);
    tool.wait_output("PLAYING", 1);
    tool.interrupt();
    let (_, text) = tool.finish();
    assert!(text.contains("does not answer"), "{text}");
}

#[test]
fn a_wrong_scheme_is_one_clear_error() {
    let installed = Installed::new();
    let line = format!("{} ! fakesink", source("ftp://127.0.0.1/", "room"));
    let (success, text) = installed.start("gst-launch-1.0", &line, &[]).finish();
    assert!(!success, "{text}");
    assert_eq!(text.matches("ERROR: from element").count(), 1, "{text}");
    assert!(text.contains("scheme \"ftp\": use one of https"), "{text}");
}

#[test]
fn a_file_is_published_at_its_own_speed_and_ends() {
    common::init();
    let installed = Installed::new();
    let relay = Relay::start().expect("the relay starts");
    let broadcast = unique_broadcast("file");
    let viewer = Viewer::start(&relay.url(), &broadcast);
    let line = format!(
        "filesrc location={} ! qtdemux ! queue ! h264parse ! {}",
        clip().display(),
        moqsink(&relay.url(), &broadcast)
    );
    let begun = Instant::now();
    let (success, text) = installed.start("gst-launch-1.0", &line, &[]).finish();
    assert!(success, "{text}");
    assert!(text.contains("Got EOS from element"), "{text}");
    assert!(
        begun.elapsed() > Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    viewer.wait("the whole clip", BOUND, |seen| {
        seen.frames("video").len() == CLIP_FRAMES
    });
}

#[test]
fn a_parser_makes_what_fragments_have_room_for() {
    common::init();
    let installed = Installed::new();
    let relay = Relay::start().expect("the relay starts");
    for encoder in [
        "x264enc tune=zerolatency",
        "x264enc tune=zerolatency ! h264parse",
        "x264enc tune=zerolatency ! video/x-h264,stream-format=byte-stream ! h264parse",
        "x265enc tune=zerolatency ! h265parse",
    ] {
        let broadcast = unique_broadcast("fragments");
        let viewer = Viewer::start(&relay.url(), &broadcast);
        let line = format!(
            "videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=120 ! {encoder} \
             ! {} sink_0::container=cmaf",
            moqsink(&relay.url(), &broadcast)
        );
        let tool = installed.start("gst-launch-1.0", &line, &[]);
        let seen = viewer.wait(&line, BOUND, |seen| seen.count("video") > 20);
        drop(tool);
        let video = &seen.catalog().video.renditions["video"];
        assert!(matches!(video.container, Container::Cmaf { .. }), "{line}");
        let record = video.description.as_ref().expect("a record");
        assert_eq!(record[0], 1, "{line}: its version");
        assert!(seen.frames("video")[0].key, "{line}");
    }
}

/// A relay whose certificate's fingerprint is on the same port, and a URI for a broadcast of it: these
/// tools set no properties.
fn by_uri(broadcast: &str) -> (Relay, String) {
    let port = Relay::free_port().expect("a port");
    let relay = Relay::start_at(port).expect("the relay starts");
    let uri = format!("moq+http://{}/#{broadcast}", relay.addr());
    (relay, uri)
}

#[test]
fn gst_play_plays_a_uri_to_its_end() {
    common::init();
    let installed = Installed::new();
    for playbin3 in ["", "--use-playbin3"] {
        let broadcast = unique_broadcast("play");
        let (relay, uri) = by_uri(&broadcast);
        let publisher = Running::play(&publish_live(&relay.url(), &broadcast));
        let line =
            format!("--no-interactive --videosink=fakesink --audiosink=fakesink {playbin3} {uri}");
        let mut tool = installed.start("gst-play-1.0", &line, &[]);
        tool.wait_output("0:00:01.", 1);
        publisher.end();
        let (success, text) = tool.finish();
        assert!(success, "{text}");
        assert!(text.contains("Reached end of play list"), "{text}");
        assert!(!text.contains("ERROR"), "{text}");
    }
}

#[test]
fn gst_discoverer_lists_the_streams_of_a_live_broadcast_and_ends() {
    common::init();
    let installed = Installed::new();
    let broadcast = unique_broadcast("discover");
    let (relay, uri) = by_uri(&broadcast);
    let _publisher = Running::play(&publish_live(&relay.url(), &broadcast));
    let line = format!("-v {uri}");
    let (success, text) = installed.start("gst-discoverer-1.0", &line, &[]).finish();
    assert!(success, "{text}");
    for said in [
        "Live: yes",
        "video/x-h264",
        "Width: 320",
        "audio/mpeg",
        "Sample rate: 48000",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("timed out"), "{text}");
}

#[test]
fn gst_discoverer_ends_without_a_broadcast_too() {
    let installed = Installed::new();
    let (_relay, uri) = by_uri("nobody");
    for (uri, said) in [
        (uri.as_str(), "timed out"),
        ("moqt://127.0.0.1:9/#%zz", "write a percent sign as \"%25\""),
        ("moqt://127.0.0.1:9/#msf:room--video", "only the catalog"),
    ] {
        let line = format!("-t 2 {uri}");
        let (_, text) = installed.start("gst-discoverer-1.0", &line, &[]).finish();
        assert!(text.contains(said), "{uri}: {text}");
    }
}

#[test]
fn a_token_is_in_no_line_of_our_log() {
    const SECRET: &str = "eyJsecret.of-the.relay";
    let installed = Installed::new();
    let relay = Relay::start_with_token("another").expect("the relay starts");
    let url = relay.url();
    let debug = [("GST_DEBUG", "moq*:6"), ("GST_DEBUG_NO_COLOR", "1")];
    for line in [
        format!("{} token={SECRET} ! fakesink", source(&url, "room")),
        format!(
            "{} ! fakesink",
            source(&format!("{url}?jwt={SECRET}"), "room")
        ),
        format!(
            "fakesrc ! fakesink {} token={SECRET}",
            moqsink(&url, "room")
        ),
        format!(
            "fakesrc ! fakesink {}",
            moqsink(&format!("{url}?jwt={SECRET}"), "room")
        ),
        format!(
            "urisourcebin uri={}?jwt={SECRET}#msf:room--catalog ! fakesink",
            url.replace("https:", "moq+http:")
        ),
    ] {
        let (success, text) = installed.start("gst-launch-1.0", &line, &debug).finish();
        assert!(!success, "the relay refuses the token: {text}");
        assert!(text.contains("refused access"), "{text}");
        assert!(
            text.contains(" moqlib "),
            "the libraries' log is there: {text}"
        );
        assert!(!text.contains(SECRET), "{text}");
        assert!(!text.contains("eyJsecret"), "{text}");
    }
}
