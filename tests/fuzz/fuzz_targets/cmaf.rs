#![no_main]

fuzz::target!("cmaf");
