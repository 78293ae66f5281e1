//! Files of another kind than the one that is expected, told by their first bytes.

use super::FileForm;

/// Returns what a file is and what to do with it, if it begins like one of another kind.
pub(super) fn advice(bytes: &[u8], wanted: FileForm) -> Option<&'static str> {
    let begins = |with: &[u8]| bytes.starts_with(with);
    if wanted == FileForm::Own {
        None
    } else if begins(b"version https://git-lfs.github.com/spec/") {
        Some("it is a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`")
    } else if begins(b"PK\x03\x04") || begins(b"PK\x05\x06") {
        Some(match wanted {
            FileForm::Tensors => {
                "it is a zip, as PyTorch and `numpy.savez` write it; save its tensors as safetensors, with \
                 `safetensors.torch.save_file`"
            }
            FileForm::Array => {
                "it is a zip, as `numpy.savez` writes it (an `.npz`); save each of its arrays with `numpy.save`"
            }
            FileForm::Text | FileForm::Own => "it is a zip; unpack it",
        })
    } else if begins(b"\x1f\x8b") {
        Some("it is compressed with gzip; unpack it with `gunzip`")
    } else if begins(b"\x28\xb5\x2f\xfd") {
        Some("it is compressed with Zstandard; unpack it with `unzstd`")
    } else if begins(b"\xfd7zXZ\0") {
        Some("it is compressed with xz; unpack it with `unxz`")
    } else if begins(b"\x89HDF\r\n\x1a\n") {
        Some(match wanted {
            FileForm::Tensors => "it is HDF5, as Keras writes it; save its tensors as safetensors",
            FileForm::Array => "it is HDF5; save each of its arrays with `numpy.save`",
            FileForm::Text | FileForm::Own => "it is HDF5, not text",
        })
    } else if begins(b"PAR1") {
        Some(match wanted {
            FileForm::Text => "it is Parquet; save it as text, with `pandas.read_parquet(…).to_csv(…)`",
            FileForm::Array | FileForm::Tensors | FileForm::Own => "it is Parquet, a table",
        })
    } else if matches!(bytes, [0x80, 2..=5, b'c' | b'}' | b']' | b'(' | b'\x8a' | b'\x95', ..]) {
        Some(match wanted {
            FileForm::Tensors => {
                "it is a pickle, as older versions of PyTorch save; save its tensors as safetensors, with \
                 `safetensors.torch.save_file`"
            }
            FileForm::Array => "it is a pickle of Python; save the array with `numpy.save`",
            FileForm::Text | FileForm::Own => "it is a pickle of Python, not text",
        })
    } else if begins(b"\x93NUMPY") && wanted == FileForm::Tensors {
        Some("it is an array of numpy, expected tensors in the format safetensors")
    } else if wanted == FileForm::Array && matches!(bytes, [_, _, _, _, _, 0, 0, 0, b'{', ..]) {
        Some("it is a file of tensors (safetensors), expected an array as `numpy.save` writes it")
    } else if wanted == FileForm::Text && (begins(b"\xff\xfe") || begins(b"\xfe\xff")) {
        Some("it is text in UTF-16; save it as UTF-8")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{FileForm, advice};

    #[test]
    fn files_of_other_kinds_are_told_by_their_first_bytes() {
        let kinds: [(&[u8], FileForm, Option<&str>); 12] = [
            (b"version https://git-lfs.github.com/spec/v1\noid", FileForm::Tensors, Some("`git lfs pull`")),
            (b"version https://git-lfs.github.com/spec/v1\noid", FileForm::Text, Some("`git lfs pull`")),
            (b"PK\x03\x04\x14", FileForm::Tensors, Some("PyTorch")),
            (b"PK\x03\x04\x14", FileForm::Array, Some("`numpy.save`")),
            (b"\x1f\x8b\x08", FileForm::Text, Some("gunzip")),
            (b"\x80\x02\x8a\x0a", FileForm::Tensors, Some("pickle")),
            (b"\x89HDF\r\n\x1a\n", FileForm::Array, Some("HDF5")),
            (b"PAR1\x15", FileForm::Text, Some("to_csv")),
            (b"\x93NUMPY\x01\0", FileForm::Tensors, Some("array of numpy")),
            (b"\x93NUMPY\x01\0", FileForm::Array, None),
            (b"\x40\x02\0\0\0\0\0\0{\"", FileForm::Tensors, None),
            (b"\x40\x02\0\0\0\0\0\0{\"", FileForm::Array, Some("safetensors")),
        ];
        for (bytes, wanted, expected) in kinds {
            let said = advice(bytes, wanted);
            let fits = match expected {
                Some(part) => said.is_some_and(|said| said.contains(part)),
                None => said.is_none(),
            };
            assert!(fits, "{bytes:?} as {wanted:?}: {said:?}");
        }
    }
}
