//! One kernel at a time, on memory that a test fills itself.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use half::bf16;

use crate::emulator::{Emulator, GUARD, GUARDED};

/// Memory between guards, at a multiple of 16 bytes.
pub struct Piece {
    /// Guard, content, and guard from the first byte behind the content.
    words: Vec<u128>,
    bytes: usize,
}

/// Units of 16 bytes of a guard.
const GUARD_UNITS: usize = GUARD / 4;

impl Piece {
    fn of_bytes(content: &[u8]) -> Piece {
        let guard = GUARDED.to_le_bytes().repeat(4);
        let guard = u128::from_le_bytes(guard.try_into().expect("four words are sixteen bytes"));
        let units = content.chunks(16).map(|chunk| {
            let mut unit = guard.to_le_bytes();
            unit[..chunk.len()].copy_from_slice(chunk);
            u128::from_le_bytes(unit)
        });
        let edge = || std::iter::repeat_n(guard, GUARD_UNITS);
        Piece { words: edge().chain(units).chain(edge()).collect(), bytes: content.len() }
    }

    /// Memory that nobody has written: NaN.
    pub fn unwritten(bytes: usize) -> Piece {
        Piece::of_bytes(&vec![0xff; bytes])
    }

    /// Memory with numbers.
    pub fn of_f32(values: &[f32]) -> Piece {
        Piece::of_bytes(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
    }

    /// Memory with numbers, rounded to the nearest.
    pub fn of_bf16(values: &[f32]) -> Piece {
        let bytes = values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes());
        Piece::of_bytes(&bytes.collect::<Vec<u8>>())
    }

    fn all_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Returns the bytes between the guards.
    pub fn content(&self) -> Vec<u8> {
        self.all_bytes()[16 * GUARD_UNITS..][..self.bytes].to_vec()
    }

    /// Returns the content as numbers.
    pub fn f32(&self) -> Vec<f32> {
        let words = self.content();
        words.chunks(4).map(|word| f32::from_le_bytes(word.try_into().expect("whole words"))).collect()
    }

    /// Returns the content, which is bf16, as numbers.
    pub fn bf16(&self) -> Vec<f32> {
        let halves = self.content();
        halves.chunks(2).map(|half| bf16::from_le_bytes([half[0], half[1]]).to_f32()).collect()
    }

    fn is_whole(&self) -> bool {
        let (all, end) = (self.all_bytes(), 16 * GUARD_UNITS + self.bytes);
        let is_guard = |(at, &byte): (usize, &u8)| byte == GUARDED.to_le_bytes()[at % 4];
        let outside = |&(at, _): &(usize, &u8)| at < 16 * GUARD_UNITS || at >= end;
        all.iter().enumerate().filter(outside).all(is_guard)
    }
}

/// What a kernel is given in one place.
pub enum Value<'a> {
    /// A pointer to memory.
    Memory(&'a mut Piece),
    /// A pointer to nothing.
    Null,
    /// A whole number.
    Size(u64),
    /// A number.
    Number(f32),
}

impl Emulator {
    /// Runs a kernel by the name of its function.
    ///
    /// # Errors
    ///
    /// Returns what the emulator or the guards around memory find.
    pub fn launch(
        &self,
        name: &str,
        blocks: u64,
        threads: [u32; 2],
        values: &mut [Value<'_>],
        order: c_int,
    ) -> Result<(), String> {
        let mut words: Vec<u64> = values
            .iter_mut()
            .map(|value| match value {
                Value::Memory(piece) => piece.words[GUARD_UNITS..].as_mut_ptr() as u64,
                Value::Null => 0,
                Value::Size(size) => *size,
                Value::Number(number) => u64::from(number.to_bits()),
            })
            .collect();
        let mut pointers: Vec<*mut c_void> =
            words.iter_mut().map(|word| std::ptr::from_mut(word).cast()).collect();
        type Emulate = unsafe extern "C" fn(u64, c_uint, c_uint, *mut *mut c_void, c_int) -> *const c_char;
        let library = self.free_copy();
        // SAFETY: the wrapper of each kernel is compiled with this type.
        let emulate = unsafe { library.get::<Emulate>(format!("emulate_{name}\0").as_bytes()) };
        let emulate = emulate.expect("the kernel has a wrapper");
        // SAFETY: the arguments are those that the kernel takes, and pointers are to memory that lives on. The lock on
        // the library keeps others out.
        let problem = unsafe { emulate(blocks, threads[0], threads[1], pointers.as_mut_ptr(), order) };
        if !problem.is_null() {
            // SAFETY: the emulator returns a text that lives until the next launch.
            return Err(format!("`{name}`: {}", unsafe { CStr::from_ptr(problem) }.to_string_lossy()));
        }
        let outside =
            values.iter().position(|value| matches!(value, Value::Memory(piece) if !piece.is_whole()));
        outside.map_or(Ok(()), |index| {
            Err(format!("`{name}`: something was written outside of argument {index}"))
        })
    }
}
