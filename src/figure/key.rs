//! What colours and lines mean, and the networks.

use super::gradients::Gradients;
use super::sheet::{Anchor, FONT, Frame, Heading, SMALL_FONT, Sheet, shortened, text_width};
use super::words::list;
use crate::census::ParameterCount;
use crate::chart::svg::colour;
use crate::ir::{Mixing, Model};
use crate::units::{counted, grouped};

/// Room for a sample before its text.
const SAMPLE: f64 = 42.0;
/// Most room for a text.
const MOST_TEXT: f64 = 360.0;
const ROW: f64 = 21.0;
const NETWORK_ROW: f64 = 40.0;

/// The networks, each with its colour, and who shares its weights.
pub(super) struct NetworkKey {
    entries: Vec<NetworkEntry>,
}

struct NetworkEntry {
    name: String,
    use_of: String,
    title: String,
}

impl NetworkKey {
    /// Says of each network what it is and which updates share its weights.
    pub fn of(model: &Model, gradients: &Gradients<'_>, parameters: &ParameterCount) -> NetworkKey {
        let entry = |(index, count): (usize, &crate::census::NetworkCount)| {
            let network = &model.networks[index];
            let users = gradients.updates.iter().filter(|unrolled| unrolled.update.network.0 == index);
            let mut states: Vec<usize> = users.clone().map(|unrolled| unrolled.update.state.0).collect();
            let updates = states.len();
            states.sort_unstable();
            states.dedup();
            let states: Vec<&str> = states.iter().map(|&state| model.states[state].name.as_str()).collect();
            let mixing = match network.block.mixing {
                Mixing::Attention { heads, .. } => format!("attention with {}", counted(heads, "head")),
                Mixing::Mlp { inner } => format!("mixer of width {inner}"),
            };
            let blocks = counted(network.layers, "block");
            let name = format!("{}: {} parameters in {blocks}", network.name, grouped(count.parameters));
            let shared = match updates {
                1 => format!("used by one update, of {}", list(&states)),
                updates => format!("shared by {updates} updates of {}", list(&states)),
            };
            let inner = network.block.inner;
            let title = format!(
                "{name}; each block: {mixing}, then SwiGLU of width {inner}; {shared}; stored as {}",
                network.stored_as
            );
            NetworkEntry {
                name: shortened(&name, FONT, MOST_TEXT),
                use_of: shortened(&format!("{shared}; {mixing}"), SMALL_FONT, MOST_TEXT),
                title,
            }
        };
        NetworkKey { entries: parameters.networks.iter().enumerate().map(entry).collect() }
    }

    /// Returns the width and the height that it needs.
    pub fn size(&self) -> (f64, f64) {
        let texts = self
            .entries
            .iter()
            .map(|entry| text_width(&entry.name, FONT).max(text_width(&entry.use_of, SMALL_FONT)));
        (SAMPLE + texts.fold(0.0, f64::max), self.entries.len() as f64 * NETWORK_ROW)
    }

    /// Draws it from its upper left corner on.
    pub fn draw(&self, sheet: &mut Sheet, x: f64, y: f64) {
        for (index, entry) in self.entries.iter().enumerate() {
            let top = y + index as f64 * NETWORK_ROW;
            let frame = Frame { x, y: top + 2.0, width: SAMPLE - 12.0, height: 26.0 };
            sheet.frame(frame, &format!("box learns {}", colour(index)), &entry.title);
            sheet.text(x + SAMPLE, top + 12.0, Anchor::Start, "", &entry.name);
            sheet.text(x + SAMPLE, top + 27.0, Anchor::Start, "small soft", &entry.use_of);
        }
    }
}

/// What lines and borders mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// An update that the gradient reaches.
    Learns,
    /// An update that it does not.
    Plain,
    /// A value along which the gradient flows back.
    Gradient,
    /// A value along which it does not.
    Value,
    /// Where the gradient is cut.
    Detach,
    /// Iterations that are left out.
    Again,
}

impl Sign {
    fn text(self) -> &'static str {
        match self {
            Sign::Learns => "gradient: work forward → and backward ←",
            Sign::Plain => "no gradient: work forward →",
            Sign::Gradient => "value; the gradient flows back along it",
            Sign::Value => "value alone",
            Sign::Detach => "detach: stops the gradient",
            Sign::Again => "equal iterations, not drawn",
        }
    }

    fn draw(self, sheet: &mut Sheet, x: f64, y: f64) {
        let frame = Frame { x, y: y + 1.0, width: SAMPLE - 12.0, height: 14.0 };
        let (right, middle) = (frame.right(), y + 8.0);
        match self {
            Sign::Learns => sheet.frame(frame, "box learns plain", ""),
            Sign::Plain => sheet.frame(frame, "box plain", ""),
            Sign::Again => sheet.frame(frame, "ground again", ""),
            Sign::Gradient | Sign::Value => {
                let class = if self == Sign::Gradient { " flow" } else { "" };
                sheet.line(&format!("wire{class}"), &[(x, middle), (right - 7.0, middle)]);
                sheet.tip((right, middle), Heading::Right, class);
            }
            Sign::Detach => sheet.line("detach", &[(frame.middle(), y - 2.0), (frame.middle(), y + 18.0)]),
        }
    }
}

/// Returns the width and the height that the meanings of `signs` need.
pub(super) fn sign_size(signs: &[Sign]) -> (f64, f64) {
    let widest = signs.iter().map(|sign| text_width(sign.text(), SMALL_FONT)).fold(0.0, f64::max);
    (SAMPLE + widest, signs.len() as f64 * ROW)
}

/// Draws what `signs` mean, from the upper left corner on.
pub(super) fn draw_signs(sheet: &mut Sheet, signs: &[Sign], x: f64, y: f64) {
    for (index, sign) in signs.iter().enumerate() {
        let top = y + index as f64 * ROW;
        sign.draw(sheet, x, top);
        sheet.text(x + SAMPLE, top + 12.0, Anchor::Start, "small soft", sign.text());
    }
}
