//! Integer arrays in numpy's `.npy` format.
//!
//! A file begins with a magic word, a version and the length of the header. The header is a Python dictionary of the
//! type, the order and the shape of the values, which follow it. Every integer type is taken, in either byte order. A
//! size in a file is held against the length of the file before anything is made of it.

#![deny(clippy::arithmetic_side_effects)]
#![expect(clippy::disallowed_methods, reason = "arrays of datasets and of answers are written")]

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use super::error::DataError;
use crate::reading::{MOST_OF_ARRAY_HEADER, shortened};

const MAGIC: &[u8] = b"\x93NUMPY";

/// Bytes that are written at once, or a few more.
const AT_ONCE: usize = 1 << 16;

/// An opened array of integers whose values have not been read.
pub(super) struct IntegerArray<R> {
    file: PathBuf,
    reader: R,
    shape: Vec<usize>,
    /// Number of values that were not read: at first the product of the shape.
    items: usize,
    signed: bool,
    big_endian: bool,
    item_bytes: usize,
}

impl<R: Read> IntegerArray<R> {
    /// Reads the header of a file of `file_bytes` bytes, and checks that it is as long as its header says.
    pub(super) fn read(file: &Path, mut reader: R, file_bytes: u64) -> Result<IntegerArray<R>, DataError> {
        let wrong = |reason: String| DataError::file(file, reason);
        let (text, header_bytes) = match header_text(&mut reader, file_bytes) {
            Ok(Ok(found)) => found,
            Ok(Err(reason)) => return Err(wrong(format!("not a numpy array: {reason}"))),
            Err(reason) => return Err(DataError::Read { file: file.to_owned(), reason }),
        };
        let data_bytes = file_bytes.saturating_sub(header_bytes);
        let Header { descr, fortran_order, shape } = Header::parse(&text).ok_or_else(|| {
            let expected = "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3)}";
            let found = shortened(text.trim_end());
            wrong(format!("not a numpy array: its header is `{found}`; expected one like `{expected}`"))
        })?;

        let Some(descr) = descr else {
            return Err(wrong("holds records; expected an array of integers".to_owned()));
        };
        let shown = shortened(descr);
        let (order, kind, size) = type_of(descr)
            .ok_or_else(|| wrong(format!("holds values of type `{shown}`; expected integers")))?;
        let signed = match kind {
            'i' => true,
            'u' => false,
            _ => return Err(wrong(format!("holds values of type `{shown}`; expected integers"))),
        };
        let item_bytes = match size {
            "1" => 1,
            "2" => 2,
            "4" => 4,
            "8" => 8,
            _ => {
                let reason = format!("holds integers of type `{shown}`; expected 1, 2, 4 or 8 bytes");
                return Err(wrong(reason));
            }
        };
        if fortran_order && shape.len() > 1 {
            let reason = "is stored column by column (Fortran order); save it row by row, for example with \
                          `numpy.ascontiguousarray`";
            return Err(wrong(reason.to_owned()));
        }

        let impossible =
            || wrong(format!("claims the impossible shape {}", shortened(&format!("{shape:?}"))));
        let items = shape.iter().try_fold(1, |items: usize, &length| items.checked_mul(length));
        let items = items.ok_or_else(impossible)?;
        let expected_bytes = (items as u64).checked_mul(item_bytes as u64).ok_or_else(impossible)?;
        if data_bytes < expected_bytes {
            let rows = shape.first().map_or(1, |&rows| rows as u64);
            let row =
                expected_bytes.checked_div(rows).and_then(|row_bytes| data_bytes.checked_div(row_bytes));
            let reason = format!(
                "the file ends here: it has {data_bytes} bytes of values, but shape {shape:?} of type `{shown}` \
                 needs {expected_bytes}"
            );
            return Err(DataError::array_row(file, row.unwrap_or(0) as usize, reason));
        }
        if data_bytes > expected_bytes {
            return Err(wrong(format!(
                "has {data_bytes} bytes of values, but shape {shape:?} of type `{shown}` needs only \
                 {expected_bytes}"
            )));
        }
        let big_endian = order == '>';
        Ok(IntegerArray { file: file.to_owned(), reader, shape, items, signed, big_endian, item_bytes })
    }

    /// Returns the path of the file.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Reads the next values, in C order, as [`IntegerArray::for_each`] gives them; `None` at the end.
    pub(super) fn next_values(&mut self, count: usize) -> Result<Option<Vec<i64>>, DataError> {
        if self.items < count || count == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; count.saturating_mul(self.item_bytes)];
        let read = self.reader.read_exact(&mut bytes);
        read.map_err(|reason| DataError::Read { file: self.file.clone(), reason })?;
        self.items = self.items.saturating_sub(count);
        let items = bytes.chunks_exact(self.item_bytes);
        Ok(Some(items.map(|item| decode(item, self.signed, self.big_endian)).collect()))
    }

    /// Reads all values, in C order.
    ///
    /// A `u64` above `i64::MAX` is given as `i64::MAX`, which no token, identifier or index can be.
    pub(super) fn for_each(
        mut self,
        mut take: impl FnMut(i64) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        const ITEMS: usize = 1 << 13;
        let mut left = self.items;
        let mut bytes = vec![0; ITEMS.saturating_mul(self.item_bytes)];
        while left > 0 {
            let items = left.min(ITEMS);
            let chunk = &mut bytes[..items.saturating_mul(self.item_bytes)];
            self.reader
                .read_exact(chunk)
                .map_err(|reason| DataError::Read { file: self.file.clone(), reason })?;
            for item in chunk.chunks_exact(self.item_bytes) {
                take(decode(item, self.signed, self.big_endian))?;
            }
            left = left.saturating_sub(items);
        }
        Ok(())
    }
}

/// Reads what is before the values of a file of `file_bytes` bytes: returns the header, and all bytes that were read.
/// The inner error says why this is no array.
fn header_text(reader: &mut impl Read, file_bytes: u64) -> io::Result<Result<(String, u64), String>> {
    let mut start = [0; 8];
    if file_bytes < start.len() as u64 {
        return Ok(Err("it does not begin like one".to_owned()));
    }
    reader.read_exact(&mut start)?;
    if !start.starts_with(MAGIC) {
        return Ok(Err("it does not begin like one".to_owned()));
    }
    let length_bytes: usize = match start[MAGIC.len()] {
        1 => 2,
        2 | 3 => 4,
        version => return Ok(Err(format!("it has version {version} of the format; expected 1, 2 or 3"))),
    };
    let before = (start.len() as u64).saturating_add(length_bytes as u64);
    let left = file_bytes.saturating_sub(before);
    let mut length = [0; 4];
    if file_bytes < before {
        return Ok(Err("the file ends before its header".to_owned()));
    }
    reader.read_exact(&mut length[..length_bytes])?;
    let length = u64::from(u32::from_le_bytes(length));
    if length > left {
        return Ok(Err(format!("its header has {length} bytes, but only {left} are left in the file")));
    }
    if length > MOST_OF_ARRAY_HEADER {
        return Ok(Err(format!("its header has {length} bytes; expected at most {MOST_OF_ARRAY_HEADER}")));
    }
    let mut header = vec![0; length as usize];
    reader.read_exact(&mut header)?;
    Ok(Ok((String::from_utf8_lossy(&header).into_owned(), before.saturating_add(length))))
}

/// What the header of an array says.
#[derive(Debug, Default, PartialEq)]
struct Header<'a> {
    /// Type of the values; `None` for records.
    descr: Option<&'a str>,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header<'_> {
    /// Reads a Python dictionary of exactly the three keys.
    fn parse(text: &str) -> Option<Header<'_>> {
        /// Most dimensions of an array of numpy.
        const MOST_DIMENSIONS: usize = 64;

        let mut header = Header::default();
        let mut seen = [false; 3];
        let mut rest = HeaderText(text);
        rest.eat("{")?;
        while rest.eat("}").is_none() {
            let key = rest.quoted()?;
            rest.eat(":")?;
            let place = ["descr", "fortran_order", "shape"].iter().position(|known| *known == key)?;
            seen[place] = true;
            match place {
                // Only an array of records has a list here, and no array of records is read further.
                0 if rest.eat("[").is_some() => return Some(Header { descr: None, ..header }),
                0 => header.descr = Some(rest.quoted()?),
                1 => header.fortran_order = rest.eat("True").or_else(|| rest.eat("False"))? == "True",
                _ => {
                    header.shape.clear();
                    rest.eat("(")?;
                    while rest.eat(")").is_none() {
                        header.shape.push(rest.number()?);
                        // Python 2 marks long numbers.
                        rest.eat("L");
                        if rest.eat(",").is_none() {
                            rest.eat(")")?;
                            break;
                        }
                    }
                }
            }
            if rest.eat(",").is_none() {
                rest.eat("}")?;
                break;
            }
        }
        let whole = rest.0.trim_matches([' ', '\n', '\0']).is_empty() && seen == [true; 3];
        (whole && header.shape.len() <= MOST_DIMENSIONS).then_some(header)
    }
}

/// What is left of a header.
struct HeaderText<'a>(&'a str);

impl<'a> HeaderText<'a> {
    /// Takes a piece of text, if it comes next.
    fn eat(&mut self, piece: &'static str) -> Option<&'static str> {
        self.0 = self.0.trim_start().strip_prefix(piece)?;
        Some(piece)
    }

    /// Takes a text between quotes.
    fn quoted(&mut self) -> Option<&'a str> {
        let quote = self.eat("'").or_else(|| self.eat("\""))?;
        let (text, rest) = self.0.split_once(quote)?;
        self.0 = rest;
        Some(text)
    }

    /// Takes a whole number.
    fn number(&mut self) -> Option<usize> {
        let text = self.0.trim_start();
        let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        let (digits, rest) = text.split_at(end);
        self.0 = rest;
        digits.parse().ok()
    }
}

/// Returns the byte order, the kind and the size of a type such as `<i8`.
fn type_of(descr: &str) -> Option<(char, char, &str)> {
    let mut characters = descr.chars();
    let order = characters.next().filter(|order| "<>|=".contains(*order))?;
    Some((order, characters.next()?, characters.as_str()))
}

fn decode(item: &[u8], signed: bool, big_endian: bool) -> i64 {
    let most_significant = if big_endian { item.first() } else { item.last() };
    let negative = signed && most_significant.is_some_and(|&byte| byte >= 0x80);
    let mut word = [if negative { 0xFF } else { 0 }; 8];
    for (place, &byte) in item.iter().enumerate() {
        let significance =
            if big_endian { item.len().saturating_sub(place).saturating_sub(1) } else { place };
        word[significance] = byte;
    }
    let value = i64::from_le_bytes(word);
    if value < 0 && !signed { i64::MAX } else { value }
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

/// An array that is being written, with the very bytes that numpy gives it: format 1.0, C order, little endian.
///
/// Numpy leaves room in a header for the first length to grow. So the header has its final length from the beginning,
/// and the number of rows is filled in at the end.
pub(super) struct ArrayWriter<T> {
    file: PathBuf,
    output: File,
    /// Values of a row; none in a plain list.
    columns: Option<usize>,
    /// Values that were given.
    values: usize,
    /// Bytes that are not in the file yet.
    bytes: Vec<u8>,
    value: PhantomData<T>,
}

impl<T: Integer> ArrayWriter<T> {
    /// Begins an array of rows of `columns` values, or a plain list.
    pub(super) fn create(file: PathBuf, columns: Option<usize>) -> Result<ArrayWriter<T>, DataError> {
        let output = File::create(&file).map_err(|reason| DataError::Write { file: file.clone(), reason })?;
        let mut bytes = Vec::with_capacity(AT_ONCE);
        bytes.extend(header(T::DESCR, 0, columns));
        Ok(ArrayWriter { file, output, columns, values: 0, bytes, value: PhantomData })
    }

    /// Returns the path of the file.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Returns the values of a row; none in a plain list.
    pub(super) fn columns(&self) -> Option<usize> {
        self.columns
    }

    /// Appends values, a row or a list of them.
    pub(super) fn push(&mut self, values: impl ExactSizeIterator<Item = T>) -> Result<(), DataError> {
        self.values = self.values.saturating_add(values.len());
        self.bytes.reserve(values.len().saturating_mul(size_of::<T>()));
        values.for_each(|value| self.bytes.extend_from_slice(value.little_endian().as_ref()));
        if self.bytes.len() >= AT_ONCE { self.flush() } else { Ok(()) }
    }

    /// Ends the array, whose last row is whole.
    pub(super) fn finish(mut self) -> Result<(), DataError> {
        self.flush()?;
        let rows = self.columns.map_or(Some(self.values), |columns| self.values.checked_div(columns));
        let header = header(T::DESCR, rows.unwrap_or(0), self.columns);
        let written = self.output.rewind().and_then(|()| self.output.write_all(&header));
        written.map_err(|reason| DataError::Write { file: self.file, reason })
    }

    fn flush(&mut self) -> Result<(), DataError> {
        let written = self.output.write_all(&self.bytes);
        self.bytes.clear();
        written.map_err(|reason| DataError::Write { file: self.file.clone(), reason })
    }
}

/// Writes a plain list.
pub(super) fn write<T: Integer>(file: PathBuf, values: Vec<T>) -> Result<(), DataError> {
    let mut array = ArrayWriter::create(file, None)?;
    array.push(values.into_iter())?;
    array.finish()
}

/// Returns the header of an array: the magic word, the version, the length of the rest, and a Python dictionary, filled
/// up with spaces. It is equally long for every number of rows.
///
/// Libraries spell the shape in other ways (`(3, )`), so it is made here.
#[expect(clippy::arithmetic_side_effects, reason = "the lengths of a header that is made here are small")]
fn header(descr: &str, rows: usize, columns: Option<usize>) -> Vec<u8> {
    const ALIGNMENT: usize = 64;
    /// Numpy leaves room for the first length to grow to this many digits.
    const LENGTH_DIGITS: usize = 21;

    let rows = rows.to_string();
    let tuple = match columns {
        None => format!("({rows},)"),
        Some(columns) => format!("({rows}, {columns})"),
    };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {tuple}, }}");
    text.push_str(&" ".repeat(LENGTH_DIGITS - rows.len()));

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

    fn opened(bytes: &[u8]) -> Result<(Vec<usize>, Vec<i64>), String> {
        let array = IntegerArray::read(Path::new("a.npy"), bytes, bytes.len() as u64)
            .map_err(|error| error.to_string())?;
        let shape = array.shape().to_vec();
        let mut values = Vec::new();
        array
            .for_each(|value| {
                values.push(value);
                Ok(())
            })
            .map_err(|error| error.to_string())?;
        Ok((shape, values))
    }

    /// Returns a file of version 1 with this header and these values.
    fn file(header: &str, values: &[u8]) -> Vec<u8> {
        let length = (header.len() as u16).to_le_bytes();
        [MAGIC, &[1, 0], &length, header.as_bytes(), values].concat()
    }

    #[test]
    fn headers_of_other_writers_are_read() {
        let pair = Ok((vec![2], vec![1, 258]));
        for header in [
            "{'descr': '<i2', 'fortran_order': False, 'shape': (2,), }   \n",
            "{\"shape\":(2,),\"descr\":\"<i2\",\"fortran_order\":False}",
            "{'descr': '<u2', 'fortran_order': True, 'shape': (2L,)}\n",
        ] {
            assert_eq!(opened(&file(header, &[1, 0, 2, 1])), pair, "{header}");
        }
        let scalar = file("{'descr': '|u1', 'fortran_order': False, 'shape': ()}", &[7]);
        assert_eq!(opened(&scalar), Ok((vec![], vec![7])));
    }

    #[test]
    fn sizes_are_held_against_the_file_before_they_are_used() {
        let header = |shape: &str| format!("{{'descr': '<i8', 'fortran_order': False, 'shape': ({shape})}}");
        let whole = file(&header("1,"), &[0; 8]);
        assert_eq!(opened(&whole), Ok((vec![1], vec![0])));
        let long = [MAGIC, &[2, 0], &[0xFF; 4], &whole[10..]].concat();
        assert_eq!(
            opened(&long),
            Err("`a.npy`: not a numpy array: its header has 4294967295 bytes, but only 63 are left in the file".into())
        );
        for shape in
            ["9223372036854775807, 9223372036854775807", "2305843009213693952, 8", "1, 2305843009213693952"]
        {
            let said = opened(&file(&header(shape), &[0; 8])).expect_err("no file is as long");
            assert!(
                said.starts_with("`a.npy`: claims the impossible shape [")
                    || said.contains("the file ends here"),
                "{said}"
            );
        }
        let said = opened(&file(&header("18446744073709551616,"), &[0; 8])).expect_err("it is no number");
        assert!(said.contains("its header is `{'descr': '<i8'"), "{said}");
        assert!(opened(&file(&header(&"1,".repeat(65)), &[0; 8])).is_err());
        assert!(opened(&file(&header("0, 4"), &[])).is_ok());
    }

    #[test]
    fn any_cut_is_refused() {
        let whole = file("{'descr': '<i2', 'fortran_order': False, 'shape': (2,), }\n", &[1, 0, 2, 1]);
        for end in 0..whole.len() {
            let said = opened(&whole[..end]).expect_err("it is cut");
            assert!(said.starts_with("`a.npy`"), "{said}");
        }
    }

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
