//! Answers as an array of numpy.

use std::path::Path;

use super::error::DataError;
use super::npy::ArrayWriter;

/// What stands in each cell of a row without an answer. No token is negative.
const NO_ANSWER: i32 = -1;

/// An array of answers that is being written, `[rows, S]`.
///
/// Its values take one byte if each of them fits, else four. Rows go to the file as they come, and the header says how
/// many there are once the array is finished.
pub struct AnswerArray(AnswerCells);

enum AnswerCells {
    Bytes(ArrayWriter<u8>),
    Words(ArrayWriter<i32>),
}

/// What the rows of an [`AnswerArray`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerShape {
    /// Tokens of a row, `S`.
    pub positions: usize,
    /// Number of different tokens, `V`.
    pub vocab: usize,
    /// Whether rows may be without an answer.
    pub has_gaps: bool,
}

impl AnswerArray {
    /// Begins an array without rows.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn create(file: &Path, shape: AnswerShape) -> Result<AnswerArray, DataError> {
        const WORDS_OF_A_BYTE: usize = 1 << u8::BITS;
        let columns = Some(shape.positions);
        Ok(AnswerArray(if shape.vocab <= WORDS_OF_A_BYTE && !shape.has_gaps {
            AnswerCells::Bytes(ArrayWriter::create(file.to_owned(), columns)?)
        } else {
            AnswerCells::Words(ArrayWriter::create(file.to_owned(), columns)?)
        }))
    }

    /// Appends an answer, `[S]`, or -1 in each cell where there is none.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    ///
    /// # Panics
    ///
    /// If the shape says that no row is without an answer, or that no token is as large.
    pub fn push(&mut self, answer: Option<&[i32]>) -> Result<(), DataError> {
        match (&mut self.0, answer) {
            (AnswerCells::Bytes(array), Some(answer)) => {
                let byte = |&token: &i32| u8::try_from(token).expect("the vocabulary is that of the shape");
                array.push(answer.iter().map(byte))
            }
            (AnswerCells::Bytes(_), None) => panic!("the shape says that each row has an answer"),
            (AnswerCells::Words(array), Some(answer)) => array.push(answer.iter().copied()),
            (AnswerCells::Words(array), None) => {
                let columns = array.columns().unwrap_or(0);
                array.push(std::iter::repeat_n(NO_ANSWER, columns))
            }
        }
    }

    /// Writes how many rows there are.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn finish(self) -> Result<(), DataError> {
        match self.0 {
            AnswerCells::Bytes(array) => array.finish(),
            AnswerCells::Words(array) => array.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::data::npy::IntegerArray;

    /// Writes rows and reads them back: the type, and the rows.
    fn written(shape: AnswerShape, rows: &[Option<&[i32]>]) -> (String, Vec<Vec<i64>>) {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = folder.path().join("answers.npy");
        let mut array = AnswerArray::create(&file, shape).expect("the folder can be written");
        rows.iter().for_each(|row| array.push(*row).expect("the folder can be written"));
        array.finish().expect("the folder can be written");
        let bytes = fs::read(&file).expect("it was written");
        let mut read = IntegerArray::read(&file, &bytes[..], bytes.len() as u64).expect("it is an array");
        assert_eq!(read.shape(), [rows.len(), shape.positions]);
        let next = || read.next_values(shape.positions).expect("the values are there");
        let rows = std::iter::from_fn(next).collect();
        let header = String::from_utf8_lossy(&bytes[10..]).into_owned();
        (header.split('\'').nth(3).expect("it has a type").to_owned(), rows)
    }

    #[test]
    fn answers_are_read_back_as_they_were_written() {
        let small = AnswerShape { positions: 3, vocab: 256, has_gaps: false };
        let rows: [&[i32]; 2] = [&[0, 1, 255], &[7, 8, 9]];
        let (kind, found) = written(small, &rows.map(Some));
        assert_eq!((kind.as_str(), found), ("|u1", vec![vec![0, 1, 255], vec![7, 8, 9]]));
        let large = AnswerShape { vocab: 257, ..small };
        assert_eq!(written(large, &[Some(&[0, 1, 256])]), ("<i4".to_owned(), vec![vec![0, 1, 256]]));
        let with_gaps = AnswerShape { has_gaps: true, ..small };
        let rows = [Some(&[3, 2, 1][..]), None, Some(&[4, 5, 6])];
        let expected = vec![vec![3, 2, 1], vec![-1, -1, -1], vec![4, 5, 6]];
        assert_eq!(written(with_gaps, &rows), ("<i4".to_owned(), expected));
        assert_eq!(written(small, &[]).1, Vec::<Vec<i64>>::new());
    }
}
