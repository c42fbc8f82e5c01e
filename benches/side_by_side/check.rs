// SPDX-License-Identifier: MIT
//! Each plugin alone in a folder, and the proof that GStreamer takes it from there.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context, bail};
use gst::prelude::*;

use crate::job::{Job, Word, Worker};

/// Puts the plugin where the processes of `job.peer` look for it, and has one of them find it.
pub(crate) fn prepare(job: &Job, target: &Path) -> anyhow::Result<()> {
    let (Some(file), Some(folder)) = (job.peer.plugin(target), job.peer.folder(target)) else {
        return Ok(());
    };
    if !file.exists() {
        bail!("{} is missing; side-by-side.sh builds it", file.display());
    }
    fs::create_dir_all(&folder)?;
    let link = folder.join("libgstmoq.so");
    match fs::remove_file(&link) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => return Err(err.into()),
        _ => symlink(&file, &link).context("a link to the plugin")?,
    }
    Worker::start(job, target, None)?.ready()?;
    Ok(())
}

/// Fails unless the elements come from the folder that was prepared.
pub(crate) fn run() -> anyhow::Result<()> {
    gst::init()?;
    let folder = std::env::var("GST_PLUGIN_PATH").context("a plugin path")?;
    let factory = gst::ElementFactory::find("moqsink").context("no moqsink")?;
    let file = factory.plugin().and_then(|plugin| plugin.filename());
    let file = file.context("the plugin's file")?;
    if !file.starts_with(&folder) {
        bail!("GStreamer takes {} instead of {folder}", file.display());
    }
    Word::Ready(String::new()).say()
}
