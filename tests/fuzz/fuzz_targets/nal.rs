#![no_main]

fuzz::target!("nal");
