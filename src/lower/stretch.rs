//! What the nodes of a program are for, by the stretch of the graph that they stem from.

/// What a node of a program is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// The embedded input, losses, optimizer and carry.
    Rest,
    /// The head of the tokens.
    TokenHead,
    /// The head of the Q values.
    QHead,
    /// An update, by its place in the unrolled segment.
    Update(usize),
}

impl Purpose {
    /// Returns the number of the stretch of a graph whose nodes are for this.
    pub fn stretch(self) -> usize {
        match self {
            Purpose::Rest => 0,
            Purpose::TokenHead => 1,
            Purpose::QHead => 2,
            Purpose::Update(index) => FIRST_UPDATE + index,
        }
    }

    /// Returns what the nodes of a stretch are for.
    pub fn of(stretch: usize) -> Purpose {
        match stretch {
            0 => Purpose::Rest,
            1 => Purpose::TokenHead,
            2 => Purpose::QHead,
            _ => Purpose::Update(stretch - FIRST_UPDATE),
        }
    }
}

/// Stretch of the first update.
const FIRST_UPDATE: usize = 3;

#[cfg(test)]
mod tests {
    use super::Purpose;

    #[test]
    fn a_stretch_tells_its_purpose() {
        for stretch in 0..9 {
            assert_eq!(Purpose::of(stretch).stretch(), stretch);
        }
        assert_eq!(Purpose::of(3), Purpose::Update(0));
    }
}
