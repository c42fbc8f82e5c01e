//! Damaged catalogs of the committed corpus; see `tests/fuzz.rs`.

#[path = "../../../../tests/common/mutate.rs"]
#[allow(dead_code)]
mod mutate;

use super::*;

#[test]
fn damaged_catalogs() {
    gst::init().expect("GStreamer initializes");
    let seeds: Vec<Value> = mutate::seeds(".json")
        .into_values()
        .map(|text| serde_json::from_slice(&text).expect("JSON"))
        .collect();
    assert_eq!(seeds.len(), 2, "hang and MSF");
    mutate::fuzz(|mutator| {
        let catalog = mutator.json(&seeds);
        mutator.note(|| catalog.to_string());
        for track in [Track::Hang, Track::Msf] {
            let (entries, problems) = of(track, &catalog);
            assert!(entries.len() <= 64);
            assert!(entries.iter().all(|entry| entry.caps.is_fixed()));
            let longest = problems.iter().map(String::len).max();
            assert!(longest.unwrap_or_default() < 8192, "{problems:?}");
        }
        msf::is_over(&catalog);
    });
}
