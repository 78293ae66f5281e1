//! Addresses of the protocol, `file:///…`, and paths of files.

use lsp_types::Uri;

/// Returns the path of a file, or the address itself where it names none, as that of a text without a file.
pub(super) fn path(address: &str) -> String {
    let Some(encoded) = address.strip_prefix("file://") else { return address.to_string() };
    let mut bytes = Vec::new();
    let mut rest = encoded.as_bytes().iter();
    while let Some(&byte) = rest.next() {
        let code = (byte == b'%').then(|| rest.as_slice().get(..2)).flatten();
        let code = code.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest.nth(1);
            }
            None => bytes.push(byte),
        }
    }
    let path = String::from_utf8_lossy(&bytes).into_owned();
    // `file:///c:/specs` is the address of `c:/specs`.
    match path.as_bytes() {
        [b'/', drive, b':', ..] if drive.is_ascii_alphabetic() => path[1..].to_string(),
        _ => path,
    }
}

/// Returns the address of a file.
pub(super) fn address(path: &str) -> Option<Uri> {
    let path = path.replace('\\', "/");
    let mut text = String::from(if path.starts_with('/') { "file://" } else { "file:///" });
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' => text.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{address, path};

    #[test]
    fn paths_and_addresses_lead_to_each_other() {
        for name in ["/specs/a.hrm", "/my specs/é#1.hrm", "c:/specs/a.hrm"] {
            let address = address(name).expect("a path has an address");
            assert_eq!(path(address.as_str()), name);
        }
        assert_eq!(path("file:///c%3A/a%20b.hrm"), "c:/a b.hrm");
        assert_eq!(path("untitled:Untitled-1"), "untitled:Untitled-1");
        assert_eq!(path("file:///100%"), "/100%");
    }
}
