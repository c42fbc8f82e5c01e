// SPDX-License-Identifier: MIT
//! Whether windows can be opened.

use std::{env, ffi::OsStr, path::Path};

/// Whether a display is named and, where that can be seen, is there.
///
/// A name alone may be left over from another session, and some video sinks crash on it.
pub(crate) fn is_there() -> bool {
    env::var("DISPLAY").is_ok_and(|name| x11_is_there(&name))
        || env::var_os("WAYLAND_DISPLAY").is_some_and(|name| wayland_is_there(&name))
}

fn x11_is_there(name: &str) -> bool {
    let local = name.strip_prefix("unix").unwrap_or(name).strip_prefix(':');
    let Some(number) = local.and_then(|local| local.split('.').next()) else {
        // A display of another machine is taken at its word.
        return name.contains(':');
    };
    Path::new("/tmp/.X11-unix")
        .join(format!("X{number}"))
        .exists()
}

fn wayland_is_there(name: &OsStr) -> bool {
    let folder = env::var_os("XDG_RUNTIME_DIR").unwrap_or_default();
    // An absolute name replaces the folder.
    !name.is_empty() && Path::new(&folder).join(name).exists()
}
