// SPDX-License-Identifier: MIT
//! The command line of the demo.

use std::{env, path::PathBuf, str::FromStr, time::Duration};

use anyhow::{Context, bail};
use gst::glib;

const USAGE: &str = "\
Publishes a clip through a MoQ relay, plays it back and shows how well that goes.

Usage: demo [OPTIONS] [FILE or URI]

  FILE or URI     what to publish, looped if it can be (default: a clip of Big Buck Bunny);
                  H.264, AAC and Opus pass as they are, everything else is encoded
  --seconds N     end after N seconds (default: at Ctrl-C)
  --url URL       use the relay at URL (default: one inside this process)
  --latency MS    the subscriber's latency in ms (default: moqsrc's)
  --out DIR       where frame.png and audio.wav are written (default: target/demo)
  --help          this text

examples/demo.sh --browser shows a test signal in web browsers instead.";

/// What the user asked for.
pub(crate) struct Options {
    /// URI of what is published.
    pub(crate) media: String,
    /// When the demo ends by itself.
    pub(crate) length: Option<Duration>,
    /// An existing relay.
    pub(crate) url: Option<String>,
    /// The subscriber's latency in ms.
    pub(crate) latency: Option<u32>,
    /// Folder of what is written at the end.
    pub(crate) out: PathBuf,
}

impl Options {
    /// Reads the command line; nothing if only help was wanted, which is printed then.
    pub(crate) fn from_args() -> anyhow::Result<Option<Self>> {
        let project = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let mut media = None;
        let mut options = Self {
            media: String::new(),
            length: None,
            url: None,
            latency: None,
            out: project.join("target/demo"),
        };
        let mut args = env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--help" | "-h" => {
                    println!("{USAGE}");
                    return Ok(None);
                }
                "--seconds" => options.length = Some(Duration::from_secs(number(&arg, &value()?)?)),
                "--url" => options.url = Some(value()?),
                "--latency" => options.latency = Some(number(&arg, &value()?)?),
                "--out" => options.out = value()?.into(),
                _ if arg.starts_with('-') => bail!("unknown option {arg}; --help lists them"),
                _ if media.is_some() => bail!("only one FILE or URI can be published"),
                _ => media = Some(arg),
            }
        }
        options.media = match media {
            Some(media) => uri(&media)?,
            None => uri_of(project.join("examples/media/bigbuckbunny.mp4"))?,
        };
        Ok(Some(options))
    }
}

fn number<T: FromStr>(option: &str, text: &str) -> anyhow::Result<T> {
    text.parse()
        .ok()
        .with_context(|| format!("{option} needs a whole number, not {text}"))
}

/// The URI of a file, or the text itself if it is a URI.
fn uri(media: &str) -> anyhow::Result<String> {
    match media.contains("://") {
        true => Ok(media.to_owned()),
        false => uri_of(media.into()),
    }
}

fn uri_of(file: PathBuf) -> anyhow::Result<String> {
    let path = file
        .canonicalize()
        .with_context(|| format!("cannot read {}", file.display()))?;
    let uri = glib::filename_to_uri(&path, None)
        .with_context(|| format!("{} has no URI", path.display()))?;
    Ok(uri.into())
}
