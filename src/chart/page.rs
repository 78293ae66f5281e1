//! One page with charts and tables, which a browser shows without a network.
//!
//! The page is a single file in HTML that is well-formed XML, too. It has no scripts, and its content policy forbids
//! the browser to fetch anything. Colours follow the reader's choice of a dark or light scheme. Each chart is there
//! twice, for narrow and for wide screens, and the browser shows the one that fits: a chart that is scaled down to a
//! phone has text that nobody can read.

use std::fmt::Write as _;

use super::Chart;
use super::svg::escaped;

/// Sizes of a chart in pixels, on narrow and on wide screens.
const NARROW: (u32, u32) = (328, 300);
const WIDE: (u32, u32) = (720, 420);

/// Rows of a table that is not folded.
const MOST_OPEN_ROWS: usize = 20;

/// Fewest sections that are listed at the beginning.
const FEWEST_LISTED: usize = 4;

const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1f2328;--soft:#59636e;--ground:#ffffff;--line:#d8dee4;--link:#0550ae}\
@media (prefers-color-scheme:dark){\
:root{--text:#e6edf3;--soft:#9da7b3;--ground:#0d1117;--line:#2d333b;--link:#6cb6ff}}\
body{margin:0 auto;max-width:45rem;padding:1rem;font:1rem/1.5 system-ui,sans-serif;\
color:var(--text);background:var(--ground);overflow-wrap:anywhere}\
h1{font-size:1.5rem;line-height:1.25}\
h2{font-size:1.2rem;line-height:1.3;margin-top:2.5rem}\
a{color:var(--link)}\
.chart{display:block;max-width:100%;height:auto;margin:1rem 0}\
.wide .chart{margin-left:auto;margin-right:auto}\
.narrow{display:none}\
@media (max-width:600px){.narrow{display:block}.wide{display:none}}\
.scroll{overflow-x:auto;margin:1rem 0}\
table{border-collapse:collapse;font-size:.9rem;overflow-wrap:normal}\
caption{text-align:left;color:var(--soft);padding-bottom:.3rem}\
th,td{border-bottom:1px solid var(--line);padding:.25rem .75rem .25rem 0;text-align:left;vertical-align:top}\
.number{text-align:right;font-variant-numeric:tabular-nums}";

/// A part of a page: a heading, then paragraphs, then charts, then tables.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PageSection {
    /// What it is about.
    pub heading: String,
    /// Paragraphs.
    pub prose: Vec<String>,
    /// The charts.
    pub charts: Vec<Chart>,
    /// The tables.
    pub tables: Vec<PageTable>,
}

/// A table of a page. A column whose cells are numbers, `-` or empty is aligned to the right.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageTable {
    /// What it shows.
    pub caption: String,
    /// The names of its columns.
    pub head: Vec<String>,
    /// The cells of its rows. The first cell of a row names it.
    pub rows: Vec<Vec<String>>,
}

/// Returns a page in HTML, with paragraphs before its sections. The same page gives the same bytes on any machine.
///
/// The section at index `i` has the id `section-` with `i + 1`, so that a link can lead to it.
pub fn page(title: &str, lead: &[String], sections: &[PageSection]) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n",
        title = escaped(title)
    );
    add_paragraphs(&mut html, lead);
    if sections.len() >= FEWEST_LISTED {
        html.push_str("<nav aria-label=\"Sections\">\n<ul>\n");
        for (index, section) in sections.iter().enumerate() {
            let (number, heading) = (index + 1, escaped(&section.heading));
            let _ = writeln!(html, "<li><a href=\"#section-{number}\">{heading}</a></li>");
        }
        html.push_str("</ul>\n</nav>\n");
    }
    let mut tables = 0;
    for (index, section) in sections.iter().enumerate() {
        let (number, heading) = (index + 1, escaped(&section.heading));
        let _ = writeln!(html, "<section id=\"section-{number}\" aria-labelledby=\"heading-{number}\">");
        let _ = writeln!(html, "<h2 id=\"heading-{number}\">{heading}</h2>");
        add_paragraphs(&mut html, &section.prose);
        for chart in &section.charts {
            for (class, (width, height)) in [("wide", WIDE), ("narrow", NARROW)] {
                let _ = writeln!(html, "<div class=\"{class}\">\n{}</div>", chart.to_svg(width, height));
            }
        }
        for table in &section.tables {
            tables += 1;
            table.add_to(&mut html, tables);
        }
        html.push_str("</section>\n");
    }
    html.push_str("</main>\n</body>\n</html>\n");
    html
}

fn add_paragraphs(html: &mut String, paragraphs: &[String]) {
    for paragraph in paragraphs {
        let _ = writeln!(html, "<p>{}</p>", escaped(paragraph));
    }
}

impl PageTable {
    /// Adds the table; `number` tells it from the others of the page. What does not fit beside each other is reached by
    /// scrolling, also with the keyboard. A long table is folded until the reader opens it.
    fn add_to(&self, html: &mut String, number: usize) {
        let columns = self.rows.iter().map(Vec::len).chain([self.head.len()]).max().unwrap_or(0);
        let cells = |row: &[String]| -> Vec<String> {
            (0..columns).map(|column| row.get(column).cloned().unwrap_or_default()).collect()
        };
        let classes: Vec<&str> = (0..columns)
            .map(|column| {
                let mut cells =
                    self.rows.iter().filter_map(|row| row.get(column)).filter(|cell| !is_blank(cell));
                let is_number = cells.clone().next().is_some() && cells.all(|cell| is_number(cell));
                if is_number { " class=\"number\"" } else { "" }
            })
            .collect();
        let is_long = self.rows.len() > MOST_OPEN_ROWS;
        if is_long {
            let _ = writeln!(html, "<details>\n<summary>{}</summary>", escaped(&self.caption));
        }
        let _ = writeln!(
            html,
            "<div class=\"scroll\" role=\"region\" aria-labelledby=\"table-{number}\" tabindex=\"0\">\n<table>\n\
             <caption id=\"table-{number}\">{}</caption>\n<thead>\n<tr>",
            escaped(&self.caption)
        );
        for (name, class) in cells(&self.head).iter().zip(&classes) {
            let _ = writeln!(html, "<th scope=\"col\"{class}>{}</th>", escaped(name));
        }
        html.push_str("</tr>\n</thead>\n<tbody>\n");
        for row in &self.rows {
            html.push_str("<tr>\n");
            for (column, (cell, class)) in cells(row).iter().zip(&classes).enumerate() {
                let (open, close) = if column == 0 { ("th scope=\"row\"", "th") } else { ("td", "td") };
                let _ = writeln!(html, "<{open}{class}>{}</{close}>", escaped(cell));
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody>\n</table>\n</div>\n");
        if is_long {
            html.push_str("</details>\n");
        }
    }
}

/// Returns whether a cell says nothing.
fn is_blank(cell: &str) -> bool {
    matches!(cell, "" | "-" | "–")
}

/// Returns whether a cell is a number, which may have a unit behind it.
fn is_number(cell: &str) -> bool {
    let first = cell.split(' ').next().unwrap_or_default();
    let digits = first.trim_start_matches(['-', '+', '−', '±']).trim_end_matches('%').replace(',', "");
    digits.parse::<f64>().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use super::super::testing::elements;
    use super::super::tests::{accuracy, edge_cases, segments};
    use super::*;
    use std::collections::BTreeSet;

    fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
        texts.map(str::to_owned).to_vec()
    }

    fn table() -> PageTable {
        PageTable {
            caption: "Accuracy by segments".to_owned(),
            head: texts(["model", "segments", "exact", "remark"]),
            rows: vec![
                texts(["hrm <b>", "1,024", "31.5%", "12 of 40"]),
                texts(["trm", "-", "±0.2 points", "none & \u{1b}[31m"]),
                texts(["short"]),
            ],
        }
    }

    fn example() -> String {
        let section = |heading: &str, charts: Vec<Chart>, tables: Vec<PageTable>| PageSection {
            heading: heading.to_owned(),
            prose: texts(["What is seen: 1 < 2 & \"more\"."]),
            charts,
            tables,
        };
        let sections = [
            section("Accuracy", vec![accuracy()], vec![table(), table()]),
            section("Rules & <script>", vec![segments(), accuracy()], vec![]),
            section("Nothing", vec![], vec![PageTable::default()]),
            section("All that is odd", edge_cases(), vec![]),
        ];
        page("A <title>", &texts(["Made by `hrmc`."]), &sections)
    }

    #[test]
    fn pages_are_well_formed_with_ids_that_are_unique_and_links_that_lead_there() {
        let page = example();
        let elements = elements(page.strip_prefix("<!doctype html>\n").expect("it says that it is HTML"));
        let ids: Vec<&str> = elements.iter().filter_map(|element| element.attribute("id")).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
        let links = elements.iter().flat_map(|element| {
            let link = element.attribute("href").map(|link| link.strip_prefix('#').expect("it stays here"));
            [link, element.attribute("aria-labelledby")]
        });
        for link in links.flatten() {
            assert!(ids.contains(&link), "`{link}` leads nowhere");
        }
        assert_eq!(elements.iter().filter(|element| element.name == "h1").count(), 1);
        assert_eq!(elements.iter().filter(|element| element.name == "h2").count(), 4);
    }

    #[test]
    fn pages_have_no_scripts_and_fetch_nothing() {
        let page = example();
        for way_out in ["<script", "<link", "<img", "<iframe", "url(", "@import", "src=", "https:", " on"] {
            let found = page.match_indices(way_out).map(|(at, _)| &page[at..(at + 40).min(page.len())]);
            let found: Vec<&str> =
                found.filter(|text| text.split('>').next().is_some_and(|tag| tag.contains('='))).collect();
            assert!(found.is_empty(), "{found:?}");
        }
        // The name of SVG, which is no address that is fetched.
        assert_eq!(page.replace("http://www.w3.org/2000/svg", "").find("http:"), None);
        assert!(page.contains("content=\"default-src 'none'; style-src 'unsafe-inline'\""));
    }

    #[test]
    fn charts_are_there_for_narrow_and_for_wide_screens() {
        let section = PageSection { charts: vec![accuracy()], ..PageSection::default() };
        let page = page("title", &[], &[section]);
        for (class, (width, height)) in [("wide", WIDE), ("narrow", NARROW)] {
            let svg = accuracy().to_svg(width, height);
            assert!(page.contains(&format!("<div class=\"{class}\">\n{svg}</div>")), "{page}");
        }
        // A screen of 360 pixels has an edge of 16 on either side.
        assert!(NARROW.0 <= 360 - 2 * 16);
        assert!(!page.contains("<nav"), "there is one section");
    }

    #[test]
    fn numbers_stand_on_the_right() {
        let mut html = String::new();
        table().add_to(&mut html, 7);
        assert!(
            html.contains("<th scope=\"col\">model</th>\n<th scope=\"col\" class=\"number\">segments</th>"),
            "{html}"
        );
        assert!(html.contains("<td class=\"number\">±0.2 points</td>\n<td>none &amp;  [31m</td>"), "{html}");
        assert!(html.contains("<th scope=\"row\">short</th>\n<td class=\"number\"></td>"), "{html}");
        let numbers = ["1", "-1.5e-3", "1,000", "87%", "+2 rows"];
        assert!(numbers.iter().all(|cell| is_number(cell)));
        assert!(!["", "-", "nan", "x1", "12x"].iter().any(|cell| is_number(cell)));
    }

    #[test]
    fn long_tables_are_folded() {
        let folded = |rows: usize| {
            let table = PageTable { rows: vec![vec!["1".to_string()]; rows], ..table() };
            let section = PageSection { tables: vec![table], ..PageSection::default() };
            page("title", &[], &[section]).matches("<details>").count()
        };
        assert_eq!((folded(MOST_OPEN_ROWS), folded(MOST_OPEN_ROWS + 1)), (0, 1));
    }

    #[test]
    fn pages_are_recorded() {
        let section =
            PageSection { heading: "Accuracy".to_owned(), tables: vec![table()], ..PageSection::default() };
        super::super::tests::record("page", &page("Title", &texts(["Lead."]), &[section]));
    }
}
