#![no_main]

fuzz::target!("incoming");
