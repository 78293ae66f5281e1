//! The page of a trace: one file of HTML that a browser shows without a network.
//!
//! The page is a frame, a style sheet and scripts around the document that `--trace -o FILE.json` writes. Its content
//! policy forbids the browser to fetch anything. The scripts are plain and need no build; each says at its beginning what
//! it is for, and they run in the order in which they are named here:
//!
//! - `trace.js` reads the document,
//! - `grid.js` draws grids,
//! - `charts.js` draws charts,
//! - `page.js` has what is shown, and brings all parts of the page up to it.
//!
//! `tests/browser` opens pages in Chromium and holds them against their documents.

const FRAME: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPTS: [&str; 4] =
    [include_str!("trace.js"), include_str!("grid.js"), include_str!("charts.js"), include_str!("page.js")];

/// Where the parts go in the frame, in this order.
const PLACES: [&str; 3] = ["@STYLE@\n", "@DOCUMENT@", "@SCRIPT@\n"];

/// Returns the page of a trace; `document` is a [`TraceDocument`](super::trace::TraceDocument) in JSON.
pub fn trace_page(document: &str) -> String {
    // In JSON, `<` stands within texts only. Escaped, no text can end the element that holds the document.
    let parts = [STYLE.to_string(), document.trim_end().replace('<', "\\u003c"), SCRIPTS.join("\n")];
    let mut page = String::new();
    let mut frame = FRAME;
    for (place, part) in PLACES.iter().zip(&parts) {
        let (before, after) = frame.split_once(place).expect("the frame has a place for each part");
        page.push_str(before);
        page.push_str(part);
        frame = after;
    }
    page + frame
}

#[cfg(test)]
mod tests {
    use super::trace_page;

    #[test]
    fn no_text_of_a_document_gets_out_of_its_element() {
        let document = r#"{"model": "</script><script>alert(1)</script><!-- @SCRIPT@"}"#;
        let page = trace_page(document);
        let (_, behind) = page.split_once(r#"type="application/json">"#).expect("the page has a document");
        let (embedded, _) = behind.split_once("</script>").expect("the element has an end");
        assert!(!embedded.contains('<'));
        let read = |text| serde_json::from_str::<serde_json::Value>(text).expect("it is JSON");
        assert_eq!(read(embedded), read(document));
        assert_eq!(page.matches("alert(1)").count(), 1);
        assert_eq!(page.matches("</html>").count(), 1);
    }

    #[test]
    fn a_page_names_nothing_that_lies_elsewhere() {
        let page = trace_page("{}");
        assert!(page.contains("default-src 'none'"));
        for way_out in ["src=", "href=", "url(", "@import", "fetch(", "XMLHttpRequest", "import("] {
            assert!(!page.contains(way_out), "`{way_out}`");
        }
        // The namespace of SVG is a name, and no browser goes there.
        assert_eq!(page.matches("//www.").count(), page.matches("http://www.w3.org/2000/svg").count());
    }
}
