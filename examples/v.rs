fn main() {
    let a: Vec<String> = std::env::args().collect();
    let dev = if a.get(2).map(|s| s == "ref").unwrap_or(false) {
        hrmc::backend::Device::Reference
    } else {
        hrmc::backend::Device::Cpu
    };
    let ext =
        if a.get(3).is_some() { hrmc::verify::Extent::FirstSegment } else { hrmc::verify::Extent::Whole };
    let f = hrmc::verify::Fixture::open(std::path::Path::new(&a[1])).unwrap();
    let t = std::time::Instant::now();
    let v = hrmc::verify::verify(&f, dev, 2, ext).unwrap();
    for r in &v.rows {
        println!(
            "{:34} {:8} {:10.2e} {:10.2e} {:3} {} {}",
            r.group,
            r.values,
            r.largest,
            r.bound,
            r.excused,
            r.pass,
            if r.pass { "" } else { &r.worst }
        );
    }
    println!("{} {} {:?}", v.pass, v.tensors, t.elapsed());
}
