//! Integer arrays in numpy's `.npy` format.
//!
//! The header is parsed by `npyz`. The values are decoded here, because every integer type has to be taken,
//! in either byte order, and a short file has to be reported with the row where it ends.

#![expect(clippy::disallowed_methods, reason = "arrays of datasets are read and written")]

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};

use super::error::DataError;

/// An opened array of integers whose values have not been read.
pub(super) struct IntegerArray {
    file: PathBuf,
    reader: BufReader<File>,
    shape: Vec<usize>,
    signed: bool,
    big_endian: bool,
    item_bytes: usize,
}

impl IntegerArray {
    /// Opens a file and checks that it is as long as its header says.
    pub(super) fn open(file: &Path) -> Result<IntegerArray, DataError> {
        let read_error = |reason| DataError::Read { file: file.to_owned(), reason };
        let opened = File::open(file).map_err(read_error)?;
        let file_bytes = opened.metadata().map_err(read_error)?.len();
        let mut reader = BufReader::with_capacity(1 << 16, opened);
        let mut counting = CountingReader { inner: &mut reader, bytes: 0 };
        let header = NpyHeader::from_reader(&mut counting)
            .map_err(|reason| DataError::file(file, format!("not a numpy array: {reason}")))?;
        let data_bytes = file_bytes - counting.bytes;

        let DType::Plain(item_type) = header.dtype() else {
            return Err(DataError::file(file, "holds records; expected an array of integers"));
        };
        let signed = match item_type.type_char() {
            TypeChar::Int => true,
            TypeChar::Uint => false,
            _ => {
                let reason = format!("holds values of type `{item_type}`; expected integers");
                return Err(DataError::file(file, reason));
            }
        };
        let item_bytes = match item_type.size_field() {
            size @ (1 | 2 | 4 | 8) => size as usize,
            _ => {
                let reason = format!("holds integers of type `{item_type}`; expected 1, 2, 4 or 8 bytes");
                return Err(DataError::file(file, reason));
            }
        };
        if header.order() == Order::Fortran && header.shape().len() > 1 {
            let reason = "is stored column by column (Fortran order); save it row by row, for example with \
                          `numpy.ascontiguousarray`";
            return Err(DataError::file(file, reason));
        }

        let shape: Vec<usize> = header.shape().iter().map(|&length| length as usize).collect();
        let expected_bytes = header
            .shape()
            .iter()
            .try_fold(item_bytes as u64, |bytes, &length| bytes.checked_mul(length))
            .ok_or_else(|| DataError::file(file, format!("claims the impossible shape {shape:?}")))?;
        if data_bytes < expected_bytes {
            let row_bytes = expected_bytes / header.shape().first().copied().unwrap_or(1);
            let reason = format!(
                "the file ends here: it has {data_bytes} bytes of values, but shape {shape:?} of type \
                 `{item_type}` needs {expected_bytes}"
            );
            return Err(DataError::array_row(file, (data_bytes / row_bytes) as usize, reason));
        }
        if data_bytes > expected_bytes {
            let reason = format!(
                "has {data_bytes} bytes of values, but shape {shape:?} of type `{item_type}` needs only \
                 {expected_bytes}"
            );
            return Err(DataError::file(file, reason));
        }

        let big_endian = item_type.endianness() == Endianness::Big;
        Ok(IntegerArray { file: file.to_owned(), reader, shape, signed, big_endian, item_bytes })
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Reads all values, in C order.
    ///
    /// A `u64` above `i64::MAX` is given as `i64::MAX`, which no token, identifier or index can be.
    pub(super) fn for_each(
        mut self,
        mut take: impl FnMut(i64) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        const ITEMS: usize = 1 << 13;
        let mut left: usize = self.shape.iter().product();
        let mut bytes = vec![0; ITEMS * self.item_bytes];
        while left > 0 {
            let items = left.min(ITEMS);
            let chunk = &mut bytes[..items * self.item_bytes];
            self.reader
                .read_exact(chunk)
                .map_err(|reason| DataError::Read { file: self.file.clone(), reason })?;
            for item in chunk.chunks_exact(self.item_bytes) {
                take(decode(item, self.signed, self.big_endian))?;
            }
            left -= items;
        }
        Ok(())
    }
}

fn decode(item: &[u8], signed: bool, big_endian: bool) -> i64 {
    let most_significant = if big_endian { item[0] } else { item[item.len() - 1] };
    let negative = signed && most_significant >= 0x80;
    let mut word = [if negative { 0xFF } else { 0 }; 8];
    for (place, &byte) in item.iter().enumerate() {
        let significance = if big_endian { item.len() - 1 - place } else { place };
        word[significance] = byte;
    }
    let value = i64::from_le_bytes(word);
    if value < 0 && !signed { i64::MAX } else { value }
}

struct CountingReader<'a, R> {
    inner: &'a mut R,
    bytes: u64,
}

impl<R: Read> Read for CountingReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

/// An integer type that is written.
pub(super) trait Integer {
    /// Its name in a header.
    const DESCR: &'static str;

    /// Returns its bytes, the least significant first.
    fn little_endian(self) -> impl AsRef<[u8]>;
}

impl Integer for u8 {
    const DESCR: &'static str = "|u1";

    fn little_endian(self) -> impl AsRef<[u8]> {
        self.to_le_bytes()
    }
}

impl Integer for i32 {
    const DESCR: &'static str = "<i4";

    fn little_endian(self) -> impl AsRef<[u8]> {
        self.to_le_bytes()
    }
}

impl Integer for i64 {
    const DESCR: &'static str = "<i8";

    fn little_endian(self) -> impl AsRef<[u8]> {
        self.to_le_bytes()
    }
}

/// Writes an array with the very bytes that numpy gives it: format 1.0, C order, little endian.
///
/// `npyz` spells the shape in another way (`(3, )`), so the header is made here.
pub(super) fn write<T: Integer>(
    file: &Path,
    shape: &[usize],
    values: impl Iterator<Item = T>,
) -> Result<(), DataError> {
    let write_error = |reason| DataError::Write { file: file.to_owned(), reason };
    let mut writer = BufWriter::with_capacity(1 << 16, File::create(file).map_err(write_error)?);
    writer.write_all(&header(T::DESCR, shape)).map_err(write_error)?;
    for value in values {
        writer.write_all(value.little_endian().as_ref()).map_err(write_error)?;
    }
    writer.flush().map_err(write_error)
}

/// Returns the header of an array: the magic word, the version, the length of the rest, and a Python
/// dictionary, filled up with spaces.
fn header(descr: &str, shape: &[usize]) -> Vec<u8> {
    const ALIGNMENT: usize = 64;
    /// Numpy leaves room for the first length to grow to this many digits.
    const LENGTH_DIGITS: usize = 21;

    let lengths: Vec<String> = shape.iter().map(usize::to_string).collect();
    let tuple = match lengths.as_slice() {
        [length] => format!("({length},)"),
        lengths => format!("({})", lengths.join(", ")),
    };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {tuple}, }}");
    let room = lengths.first().map_or(0, |length| LENGTH_DIGITS - length.len());
    text.push_str(&" ".repeat(room));

    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    let before_text = header.len() + size_of::<u16>();
    let padding = ALIGNMENT - (before_text + text.len() + 1) % ALIGNMENT;
    text.push_str(&" ".repeat(padding));
    text.push('\n');
    let text_bytes = u16::try_from(text.len()).expect("two lengths fit in a short header");
    header.extend(text_bytes.to_le_bytes());
    header.extend(text.bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_sign_and_byte_order_is_decoded() {
        assert_eq!(decode(&[0xFE], true, false), -2);
        assert_eq!(decode(&[0xFE], false, false), 254);
        assert_eq!(decode(&[0x01, 0x02], false, false), 0x0201);
        assert_eq!(decode(&[0x01, 0x02], false, true), 0x0102);
        assert_eq!(decode(&[0xFF, 0xFE], true, true), -2);
        assert_eq!(decode(&[0xFF, 0xFF, 0xFF, 0xFF], true, false), -1);
        assert_eq!(decode(&[0xFF, 0xFF, 0xFF, 0xFF], false, false), 0xFFFF_FFFF);
        assert_eq!(decode(&5_i64.to_be_bytes(), true, true), 5);
        assert_eq!(decode(&u64::MAX.to_le_bytes(), false, false), i64::MAX);
    }
}
