//! The `hrmc` command line.

fn main() {
    println!("hrmc {}", env!("CARGO_PKG_VERSION"));
}
