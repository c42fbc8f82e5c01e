// SPDX-License-Identifier: MIT
//! What an application and a user see of the elements without running them.

use std::{
    ffi::CStr,
    fmt::{Debug, Write as _},
};

use gst::{glib, glib::translate::*, prelude::*};

fn init() {
    gst::init().expect("GStreamer initializes");
    gstmoq::plugin_register_static().expect("the plugin registers");
}

fn factory(name: &str) -> gst::ElementFactory {
    gst::ElementFactory::find(name).unwrap_or_else(|| panic!("the plugin has {name}"))
}

/// The properties that a type adds to those of core.
fn own_properties(object: &glib::object::ObjectClass) -> Vec<glib::ParamSpec> {
    let core = [
        gst::Object::static_type(),
        gst::Element::static_type(),
        gst::Pad::static_type(),
    ];
    let mut specs: Vec<_> = object.list_properties().iter().cloned().collect();
    specs.retain(|spec| !core.contains(&spec.owner_type()));
    specs.sort_by(|a, b| a.name().cmp(b.name()));
    specs
}

fn class(type_: glib::Type) -> glib::object::ClassRef<'static, glib::Object> {
    glib::Class::from_type(type_).expect("a class of objects")
}

/// The types of the pads that the templates of `factory` make.
fn pad_types(name: &str) -> Vec<glib::Type> {
    let element = factory(name).create().build().expect("the element");
    let templates = element.pad_template_list();
    let mut types: Vec<glib::Type> = templates
        .iter()
        .map(|template| template.property("gtype"))
        .collect();
    types.sort_by_key(|type_| type_.name());
    types.dedup();
    types
}

fn flags(spec: &glib::ParamSpec) -> String {
    let known = [
        (glib::ParamFlags::READABLE, "readable"),
        (glib::ParamFlags::WRITABLE, "writable"),
        (glib::ParamFlags::CONSTRUCT, "construct"),
        (glib::ParamFlags::CONSTRUCT_ONLY, "construct-only"),
        (gst::PARAM_FLAG_MUTABLE_READY, "mutable-ready"),
        (gst::PARAM_FLAG_MUTABLE_PAUSED, "mutable-paused"),
        (gst::PARAM_FLAG_MUTABLE_PLAYING, "mutable-playing"),
        (gst::PARAM_FLAG_CONTROLLABLE, "controllable"),
    ];
    let set = known
        .iter()
        .filter(|(flag, _)| spec.flags().contains(*flag));
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

/// What values the property takes, beside its type.
fn range(spec: &glib::ParamSpec) -> Option<String> {
    fn between(least: impl Debug, greatest: impl Debug) -> Option<String> {
        Some(format!("{least:?} to {greatest:?}"))
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecUInt>() {
        return between(spec.minimum(), spec.maximum());
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecUInt64>() {
        return between(spec.minimum(), spec.maximum());
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecInt>() {
        return between(spec.minimum(), spec.maximum());
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecInt64>() {
        return between(spec.minimum(), spec.maximum());
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecDouble>() {
        return between(spec.minimum(), spec.maximum());
    }
    let values = glib::EnumClass::with_type(spec.value_type())?;
    let values = values.values().iter();
    let values: Vec<_> = values
        .map(|value| format!("{} = {} ({})", value.value(), value.nick(), value.name()))
        .collect();
    Some(values.join(", "))
}

/// Whether the property is a structure, which has no default that GStreamer could print.
fn is_structure(spec: &glib::ParamSpec) -> bool {
    spec.value_type() == gst::Structure::static_type()
}

fn default(spec: &glib::ParamSpec) -> String {
    if is_structure(spec) {
        return "none".into();
    }
    let value = spec.default_value();
    match value.serialize() {
        Ok(text) => text.to_string(),
        Err(_) => format!("{value:?}"),
    }
}

fn describe_properties(out: &mut String, type_: glib::Type) {
    writeln!(out, "\n{} from {}", type_.name(), parents(type_)).expect("a string grows");
    for spec in own_properties(&class(type_)) {
        writeln!(out, "  {}: {}", spec.name(), spec.value_type().name()).expect("a string grows");
        writeln!(
            out,
            "    {:?}: {}",
            spec.nick(),
            spec.blurb().unwrap_or_default()
        )
        .expect("a string grows");
        writeln!(out, "    {}", flags(&spec)).expect("a string grows");
        writeln!(out, "    default {}", default(&spec)).expect("a string grows");
        if let Some(range) = range(&spec) {
            writeln!(out, "    {range}").expect("a string grows");
        }
    }
    for signal in signals(type_) {
        writeln!(out, "  signal {signal}").expect("a string grows");
    }
}

fn parents(type_: glib::Type) -> String {
    let mut names = Vec::new();
    let mut parent = type_.parent();
    while let Some(type_) = parent {
        names.push(type_.name());
        parent = type_.parent();
    }
    let interfaces = type_.interfaces();
    names.extend(interfaces.iter().map(|interface| interface.name()));
    names.join(", ")
}

fn signals(type_: glib::Type) -> Vec<String> {
    let mut count = 0;
    // SAFETY: the type is a class that exists, and the array of `count` numbers becomes ours.
    let ids: glib::Slice<u32> = unsafe {
        let ids = glib::gobject_ffi::g_signal_list_ids(type_.into_glib(), &mut count);
        glib::Slice::from_glib_full_num(ids, count as usize)
    };
    ids.iter().map(|id| signal_name(*id)).collect()
}

fn signal_name(id: u32) -> String {
    // SAFETY: the number was listed, and such a signal has a name for the life of the process.
    let name = unsafe { CStr::from_ptr(glib::gobject_ffi::g_signal_name(id)) };
    name.to_string_lossy().into_owned()
}

/// All that introspection says of the element and its pads.
fn describe(name: &str) -> String {
    let factory = factory(name);
    let mut out = String::new();
    for key in ["long-name", "klass", "description"] {
        writeln!(out, "{key}: {}", factory.metadata(key).unwrap_or_default())
            .expect("a string grows");
    }
    writeln!(out, "rank: {}", i32::from(factory.rank())).expect("a string grows");
    let element = factory.create().build().expect("the element");
    writeln!(out, "flags: {:?}", element.element_flags()).expect("a string grows");
    let mut templates: Vec<_> = element.pad_template_list().into_iter().collect();
    templates.sort_by_key(|template| template.name_template().to_owned());
    for template in &templates {
        writeln!(
            out,
            "\ntemplate {}: {:?}, {:?}",
            template.name_template(),
            template.direction(),
            template.presence()
        )
        .expect("a string grows");
        for structure in template.caps().iter() {
            writeln!(out, "  {structure}").expect("a string grows");
        }
    }
    describe_properties(&mut out, element.type_());
    for type_ in pad_types(name) {
        describe_properties(&mut out, type_);
    }
    out
}

#[test]
fn moqsink_is_what_its_snapshot_says() {
    init();
    insta::assert_snapshot!("moqsink", describe("moqsink"));
}

#[test]
fn moqsrc_is_what_its_snapshot_says() {
    init();
    insta::assert_snapshot!("moqsrc", describe("moqsrc"));
}

#[test]
fn every_readable_property_of_a_fresh_object_is_its_default() {
    init();
    for name in ["moqsink", "moqsrc"] {
        let element = factory(name).create().build().expect("the element");
        let mut objects = vec![element.clone().upcast::<glib::Object>()];
        objects.extend(pad_types(name).into_iter().map(glib::Object::with_type));
        for object in &objects {
            for spec in own_properties(object.object_class()) {
                if !spec.flags().contains(glib::ParamFlags::READABLE) || is_structure(&spec) {
                    continue;
                }
                assert_eq!(
                    format!("{:?}", object.property_value(spec.name())),
                    format!("{:?}", spec.default_value()),
                    "{}.{}",
                    object.type_(),
                    spec.name()
                );
            }
        }
    }
}

#[test]
fn every_property_says_what_it_is() {
    init();
    for name in ["moqsink", "moqsrc"] {
        let mut types = pad_types(name);
        types.push(factory(name).element_type());
        for type_ in types {
            let specs = own_properties(&class(type_));
            assert!(!specs.is_empty(), "{type_} has properties");
            for spec in specs {
                let name = format!("{type_}.{}", spec.name());
                assert!(!spec.nick().is_empty(), "{name} has a nick");
                assert_ne!(spec.nick(), spec.name(), "{name} has a nick of its own");
                let blurb = spec.blurb().unwrap_or_default();
                assert!(!blurb.is_empty(), "{name} has a blurb");
                assert_ne!(blurb, spec.name(), "{name} has a blurb of its own");
            }
        }
    }
}
