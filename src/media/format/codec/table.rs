//! The codecs in the README are those of the table.

use super::{CODECS, Codec};
use crate::media::container::kind::Container;

/// Caps as people write them: without types, each alternative in a code span of its own.
fn readable(caps: &str) -> String {
    let mut caps = caps.to_owned();
    for type_ in ["(string)", "(int)", "(boolean)"] {
        caps = caps.replace(type_, "");
    }
    let spans = caps.split(';').map(|one| format!("`{}`", one.trim()));
    spans.collect::<Vec<_>>().join(", ")
}

fn row(codec: &Codec) -> String {
    let (takes, gives) = (readable(codec.sink_caps), readable(codec.src_caps));
    let gives = match takes == gives {
        true => "the same".to_owned(),
        false => gives,
    };
    format!(
        "| {} | {} | {takes} | {gives} |",
        codec.kind.name(),
        codec.name
    )
}

#[test]
fn the_readme_has_the_table_as_it_is() {
    let readme = include_str!("../../../../README.md");
    let expected: Vec<String> = CODECS.iter().map(row).collect();
    let (_, after) = readme.split_once("| kind | codec |").expect("a table");
    let rows = after.lines().skip(2);
    let found: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    assert_eq!(found, expected, "\n{}\n", expected.join("\n"));
    for container in [Container::Legacy, Container::Loc, Container::Cmaf] {
        let name = format!("{container:?}").to_lowercase();
        assert!(readme.contains(&format!("`{name}`")), "{name}");
    }
}
