#![no_main]

fuzz::target!("caps");
