// SPDX-License-Identifier: MIT
//! Gives the targets of `tests/elements/fuzz.rs`, and whole catalogs, to libFuzzer.

#[path = "../../common/mutate.rs"]
#[allow(dead_code)]
mod mutate;
#[allow(dead_code)]
mod targets;

use std::{
    collections::BTreeMap,
    env, fs,
    panic::{self, AssertUnwindSafe},
    path::Path,
    process,
    sync::{Mutex, OnceLock, PoisonError},
};

use self::{
    mutate::{Form, Mutator, catalogs, parts},
    targets::{TARGETS, Target},
};

/// What the elements do with a whole catalog is private to them: no target of `tests/elements/fuzz.rs`.
static CATALOG: Target = Target {
    name: "catalog",
    form: Form::Json,
    seeds: catalogs,
    run: |input| {
        let parts = parts(input);
        gstmoq::fuzzing::read(parts[0], parts.get(1).copied().unwrap_or_default());
    },
};

/// The target of this process, and its seeds.
static CHOSEN: OnceLock<(&Target, Vec<Vec<u8>>)> = OnceLock::new();
/// How often each place panicked.
static PANICS: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// The program of the target of this name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        libfuzzer_sys::fuzz_target!(init: $crate::init($name), |data: &[u8]| $crate::run(data));

        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::change(data, size, max_size, seed)
        });
    };
}

/// Prepares this process for a target; writes its seeds into the directory `FUZZ_SEEDS`.
pub fn init(name: &str) {
    targets::init();
    let target = TARGETS
        .iter()
        .chain([&CATALOG])
        .find(|target| target.name == name);
    let target = target.expect("a target of this name");
    let (_, seeds) = CHOSEN.get_or_init(|| (target, target.seeds()));
    if let Some(place) = env::var_os("FUZZ_SEEDS") {
        for (index, seed) in seeds.iter().enumerate() {
            let path = Path::new(&place).join(format!("seed-{index}"));
            fs::write(path, seed).expect("a place for the seeds");
        }
    }
    // Instead of libFuzzer's own, which ends with panics of the libraries that are contained.
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let mut panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
        let times = panics.entry(place).or_default();
        *times += 1;
        if 10_u64.pow(times.ilog10()) == *times {
            eprintln!("panic, times {times}: {info}");
        }
    }));
}

/// Tries one input; a panic that gets here was not contained.
pub fn run(input: &[u8]) {
    let (target, _) = CHOSEN.get().expect("init was called");
    if panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err() {
        eprintln!("A panic was not contained.");
        process::abort();
    }
}

/// Changes an input as its form has it, or as libFuzzer does.
pub fn change(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let Some((target, seeds)) = CHOSEN.get().filter(|_| seed.is_multiple_of(2)) else {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    };
    let changed = Mutator::new(seed.into()).change(target.form, &data[..size], seeds);
    let size = changed.len().min(max_size);
    data[..size].copy_from_slice(&changed[..size]);
    size
}
