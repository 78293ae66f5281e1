//! Files of tensors, in the format safetensors: the length of a header in eight bytes, the header in JSON, the values.

use std::io::{self, Read};

use safetensors::tensor::Metadata;
use safetensors::{SafeTensorError, SafeTensors};

use super::{MOST_OF_TENSORS_HEADER, shortened};

/// Bytes before the header.
const LENGTH_BYTES: u64 = 8;

/// Returns the tensors of a whole file.
///
/// # Errors
///
/// Returns why it is not one.
pub fn whole(bytes: &[u8]) -> Result<SafeTensors<'_>, String> {
    let mut start = bytes;
    // The length of the header is held against the file here, and its size against the bound.
    header(&mut start, bytes.len() as u64).expect("bytes in memory are all there")?;
    SafeTensors::deserialize(bytes).map_err(|error| reason(&error))
}

/// Reads the header of a file of `file_bytes` bytes, which says where the tensors are. The inner error says why this is
/// no whole file of tensors.
///
/// # Errors
///
/// Returns what the system says.
pub fn header(reader: &mut impl Read, file_bytes: u64) -> io::Result<Result<Metadata, String>> {
    if file_bytes < LENGTH_BYTES {
        return Ok(Err(format!("it has {file_bytes} bytes, too few for a header")));
    }
    let mut length = [0; LENGTH_BYTES as usize];
    reader.read_exact(&mut length)?;
    let (length, left) = (u64::from_le_bytes(length), file_bytes.saturating_sub(LENGTH_BYTES));
    if length > left {
        return Ok(Err(format!("its header has {length} bytes, but only {left} are left in the file")));
    }
    if length > MOST_OF_TENSORS_HEADER {
        return Ok(Err(format!("its header has {length} bytes; expected at most {MOST_OF_TENSORS_HEADER}")));
    }
    let mut text = vec![0; length as usize];
    reader.read_exact(&mut text)?;
    let header: Metadata = match serde_json::from_slice(&text) {
        Ok(header) => header,
        Err(_) => return Ok(Err("its header is damaged".to_owned())),
    };
    let (claimed, values) = (header.data_len() as u64, left.saturating_sub(length));
    if claimed == values {
        Ok(Ok(header))
    } else {
        Ok(Err(format!("it has {values} bytes of values, but its header says {claimed}")))
    }
}

/// Says what is wrong with a file. The library's own words name its types.
fn reason(error: &SafeTensorError) -> String {
    match error {
        SafeTensorError::InvalidOffset(name) => {
            format!("its header says a wrong place for `{}`", shortened(name))
        }
        SafeTensorError::TensorInvalidInfo | SafeTensorError::MisalignedSlice => {
            "the size of a tensor is not that of its shape".to_owned()
        }
        _ => "its header is damaged".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::whole;

    fn said(header: &str, values: usize) -> String {
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; values]].concat();
        whole(&bytes).err().unwrap_or_default()
    }

    #[test]
    fn what_a_header_says_is_held_against_the_file() {
        let tensor =
            |place: &str| format!("{{\"a\":{{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":{place}}}}}");
        assert_eq!(said(&tensor("[0,8]"), 8), "");
        assert_eq!(said(&tensor("[0,8]"), 7), "it has 7 bytes of values, but its header says 8");
        assert_eq!(said(&tensor("[4,12]"), 12), "its header is damaged");
        assert_eq!(said("{", 0), "its header is damaged");
        assert_eq!(whole(&[1, 2, 3]).err().unwrap_or_default(), "it has 3 bytes, too few for a header");
        let long = [u64::MAX.to_le_bytes(), [b'{'; 8]].concat();
        assert_eq!(
            whole(&long).err().unwrap_or_default(),
            "its header has 18446744073709551615 bytes, but only 8 are left in the file"
        );
    }
}
