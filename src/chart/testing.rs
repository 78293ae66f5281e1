//! Reading images, for tests of what draws them.

use std::collections::BTreeSet;

/// An element of an image.
pub(crate) struct SvgElement {
    pub(crate) name: String,
    attributes: Vec<(String, String)>,
    /// The text that it begins with.
    pub(crate) content: String,
}

impl SvgElement {
    /// Returns an attribute that is a number.
    pub(crate) fn number(&self, name: &str) -> f64 {
        self.attribute(name).expect("it has the attribute").parse().expect("it is a number")
    }

    /// Returns an attribute, if the element has it.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Returns the elements of an XML document of the simple kind that is written here. Panics if it is not well formed: if
/// elements do not nest, an attribute is repeated or not quoted, or a character is not allowed.
pub(crate) fn elements(xml: &str) -> Vec<SvgElement> {
    let allowed = |character: char| !character.is_control() || character == '\n';
    assert!(xml.chars().all(|character| allowed(character) && !"\u{fffe}\u{ffff}".contains(character)));
    let without_entities =
        ["&amp;", "&lt;", "&gt;"].iter().fold(xml.to_owned(), |xml, name| xml.replace(name, ""));
    assert!(!without_entities.contains('&'), "a bare `&`");
    let (mut found, mut open): (Vec<SvgElement>, Vec<String>) = (Vec::new(), Vec::new());
    let mut rest = xml.strip_prefix('<').expect("it begins with an element");
    loop {
        let (tag, after) = rest.split_once('>').expect("a tag ends");
        let (content, next) =
            after.split_once('<').map_or((after, None), |(content, next)| (content, Some(next)));
        assert!(!tag.contains('<') && !content.contains('>'), "`{tag}`, `{content}`");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
        } else {
            let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
            let mut attributes = Vec::new();
            while !rest.is_empty() {
                let (key, value) = rest.trim_start().split_once("=\"").expect("an attribute has a value");
                let (value, after) = value.split_once('"').expect("a value ends");
                assert!(after.is_empty() || after.starts_with(' '), "`{after}`");
                attributes.push((key.to_owned(), value.to_owned()));
                rest = after;
            }
            let keys: BTreeSet<&String> = attributes.iter().map(|(key, _)| key).collect();
            assert_eq!(keys.len(), attributes.len(), "an attribute is repeated in `{tag}`");
            let content = content.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
            found.push(SvgElement { name: name.to_owned(), attributes, content });
            if !is_empty {
                open.push(name.to_owned());
            }
        }
        match next {
            Some(next) => {
                assert!(!open.is_empty(), "there is one root");
                rest = next;
            }
            None => break,
        }
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    found
}

/// The place of a text in an image, in pixels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TextBox {
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
    pub(crate) content: String,
}

/// Returns the places of all texts, with the mean widths of DejaVu Sans, a wide font.
pub(crate) fn text_boxes(elements: &[SvgElement]) -> Vec<TextBox> {
    let text_box = |text: &SvgElement| {
        let has =
            |class| text.attribute("class").is_some_and(|found| found.split(' ').any(|one| one == class));
        let font = match () {
            () if has("title") => 16.5,
            () if has("strong") => 13.0,
            () if has("small") => 11.0,
            () => 12.0,
        };
        let wide = |character: char| match character {
            ' ' | 'i' | 'j' | 'l' | '.' | ',' | ':' | '\'' => 0.32,
            'm' | 'w' | '%' => 0.96,
            character if character.is_ascii() => 0.61,
            _ => 1.0,
        };
        let width = text.content.chars().map(wide).sum::<f64>() * font;
        let content = text.content.clone();
        if let Some(transform) = text.attribute("transform") {
            let place =
                transform.strip_prefix("translate(").and_then(|rest| rest.split_once(") rotate(-90)"));
            let (x, y) = place.and_then(|(place, _)| place.split_once(' ')).expect("it is turned left");
            let [x, y]: [f64; 2] = [x, y].map(|number| number.parse().expect("it is a number"));
            let (top, bottom) = (y - width / 2.0, y + width / 2.0);
            return TextBox { left: x - 0.8 * font, right: x + 0.2 * font, top, bottom, content };
        }
        let (x, y) = (text.number("x"), text.number("y"));
        let left = x - match text.attribute("text-anchor") {
            Some("start") => 0.0,
            Some("middle") => width / 2.0,
            Some("end") => width,
            other => panic!("{other:?} is no anchor"),
        };
        TextBox { left, right: left + width, top: y - 0.8 * font, bottom: y + 0.2 * font, content }
    };
    elements.iter().filter(|element| element.name == "text").map(text_box).collect()
}
