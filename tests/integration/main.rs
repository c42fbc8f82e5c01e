// SPDX-License-Identifier: MIT
//! The elements with a real relay, real publishers and real subscribers: two tests at a time.

#[path = "../common/mod.rs"]
mod common;

mod announcements;
mod applications;
mod catalogs;
mod codecs_audio;
mod codecs_audio_broken;
mod codecs_vpx;
mod containers;
mod containers_of_others;
mod data;
mod demand;
mod describe;
mod discovery;
mod errors;
mod faults;
mod following_tracks;
mod format_changes;
mod json_tracks;
mod keyframes;
mod launch;
mod leaks;
mod listen;
mod long_groups;
mod mdns;
mod network;
mod outages;
mod playback;
mod rate_control;
mod reconnect;
mod recording;
mod rewind;
mod roundtrip;
mod selection;
mod simulcast;
mod sink;
mod sink_changes;
mod sink_queries;
mod sink_times;
mod source;
mod source_pads;
mod statistics;
mod stop_sink;
mod stop_source;
mod text;
mod text_players;
mod trust;
mod uris;
mod video_sizes;
