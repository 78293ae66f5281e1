//! Memory that programs share by name, and the aligned buffers that it is made of.
//!
//! Every piece of memory has a copy on the host, and a *version* that grows with every write. A device with memory of
//! its own remembers the version of its copy, so it knows which pieces it must receive. The host copy of a piece that
//! such a device has written is old until somebody reads it ([`Memory::written_elsewhere`], [`Memory::fetched`]).

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::ptr::NonNull;

use super::DeviceError;
use crate::graph::TensorType;
use crate::plan::ALIGNMENT;

/// A piece of memory; an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemoryId(usize);

/// The memory of a session.
#[derive(Debug, Default)]
pub struct Memory {
    ids: BTreeMap<String, MemoryId>,
    pieces: Vec<NamedBuffer>,
}

struct NamedBuffer {
    ty: TensorType,
    /// Grows with every write, by whom ever.
    version: u64,
    /// The newest content; empty while only a device has that.
    host: OnceCell<Buffer>,
    /// The buffer for the content while only a device has that.
    spare: RefCell<Option<Buffer>>,
}

impl fmt::Debug for NamedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedBuffer")
            .field("ty", &self.ty)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Memory {
    /// Allocates memory, zero when new; memory of a name that exists stays as it is.
    ///
    /// # Errors
    ///
    /// Returns an error if the system refuses the memory.
    ///
    /// # Panics
    ///
    /// Panics if there is memory of this name and another type.
    pub fn allocate(&mut self, name: &str, ty: &TensorType) -> Result<MemoryId, DeviceError> {
        if let Some(&id) = self.ids.get(name) {
            assert_eq!(&self.pieces[id.0].ty, ty, "programs agree on the type of `{name}`");
            return Ok(id);
        }
        let host = OnceCell::from(Buffer::zeroed(ty.bytes(), name)?);
        let id = MemoryId(self.pieces.len());
        self.pieces.push(NamedBuffer { ty: ty.clone(), version: 0, host, spare: RefCell::new(None) });
        self.ids.insert(name.to_string(), id);
        Ok(id)
    }

    /// Returns the memory of a name.
    pub fn id(&self, name: &str) -> Option<MemoryId> {
        self.ids.get(name).copied()
    }

    /// Returns the names and types of all memory, sorted by name.
    pub fn names(&self) -> impl Iterator<Item = (&str, &TensorType)> {
        self.ids.iter().map(|(name, id)| (name.as_str(), &self.pieces[id.0].ty))
    }

    /// Returns the type of memory.
    pub fn ty(&self, id: MemoryId) -> &TensorType {
        &self.pieces[id.0].ty
    }

    /// Returns the number of the content, which is another one after every write.
    pub fn version(&self, id: MemoryId) -> u64 {
        self.pieces[id.0].version
    }

    /// Returns the content.
    ///
    /// # Panics
    ///
    /// Panics if only a device has it. An engine asks for what the host has written, or what it never takes away.
    pub fn content(&self, id: MemoryId) -> &Buffer {
        self.pieces[id.0].host.get().expect("the content is on the host")
    }

    /// Returns the content; where only a device has it, `fetch` brings it.
    ///
    /// # Errors
    ///
    /// Returns what `fetch` fails with.
    pub fn fetched(
        &self,
        id: MemoryId,
        fetch: impl FnOnce(&mut Buffer) -> Result<(), DeviceError>,
    ) -> Result<&Buffer, DeviceError> {
        let NamedBuffer { host, spare, .. } = &self.pieces[id.0];
        if let Some(content) = host.get() {
            return Ok(content);
        }
        let mut buffer = spare.take().expect("memory has a buffer, whoever has the content");
        let fetched = fetch(&mut buffer);
        if let Err(error) = fetched {
            spare.replace(Some(buffer));
            return Err(error);
        }
        Ok(host.get_or_init(|| buffer))
    }

    /// Returns the buffer of memory that is about to be written on the host.
    ///
    /// Where only a device had the content, the buffer holds an old one, and the caller overwrites all of it.
    pub fn write(&mut self, id: MemoryId) -> &mut Buffer {
        let NamedBuffer { host, spare, version, .. } = &mut self.pieces[id.0];
        *version += 1;
        if let Some(buffer) = spare.get_mut().take() {
            *host = OnceCell::from(buffer);
        }
        host.get_mut().expect("memory has a buffer, whoever has the content")
    }

    /// Records that a kernel has written to the buffer of memory on the host.
    pub fn written_here(&mut self, id: MemoryId) {
        self.pieces[id.0].version += 1;
    }

    /// Records that a device has written its copy of memory, so that the host copy is old. Returns the new version.
    pub fn written_elsewhere(&mut self, id: MemoryId) -> u64 {
        let NamedBuffer { host, spare, version, .. } = &mut self.pieces[id.0];
        *version += 1;
        if let Some(buffer) = host.take() {
            spare.replace(Some(buffer));
        }
        *version
    }

    /// Returns the bytes of all memory on the host.
    pub fn bytes(&self) -> usize {
        let of = |piece: &NamedBuffer| {
            let here = piece.host.get().map_or(0, Buffer::bytes);
            here + piece.spare.borrow().as_ref().map_or(0, Buffer::bytes)
        };
        self.pieces.iter().map(of).sum()
    }
}

/// Gives a dangling pointer the alignment of real memory.
#[repr(align(64))]
struct Aligned;

/// Memory aligned for vector loads, zero when new. Its pages are touched only when used.
pub struct Buffer {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a buffer owns its memory; sharing it follows the borrow of the buffer.
unsafe impl Send for Buffer {}
// SAFETY: as above; nothing inside has interior mutability.
unsafe impl Sync for Buffer {}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Buffer {
    /// Returns a buffer without memory.
    pub fn empty() -> Self {
        Buffer { start: NonNull::<Aligned>::dangling().cast(), bytes: 0 }
    }

    /// Allocates at least `bytes` bytes for `what`.
    ///
    /// # Errors
    ///
    /// Returns an error if the system refuses the memory.
    pub fn zeroed(bytes: usize, what: &str) -> Result<Self, DeviceError> {
        let refused = || DeviceError::OutOfMemory { bytes, what: format!("`{what}`") };
        if bytes == 0 {
            return Ok(Buffer::empty());
        }
        let bytes = bytes.checked_next_multiple_of(ALIGNMENT).ok_or_else(refused)?;
        let layout = Layout::from_size_align(bytes, ALIGNMENT).map_err(|_| refused())?;
        // SAFETY: the layout has a size above zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(refused)?;
        Ok(Buffer { start, bytes })
    }

    /// Returns the bytes, a multiple of the alignment.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns where it begins.
    pub fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Returns the content as f32.
    pub fn as_f32(&self) -> &[f32] {
        // SAFETY: the memory is aligned for f32, initialised, and any bits are an f32. An empty buffer has length 0.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.bytes / 4) }
    }

    /// Returns the content as f32 for writing.
    pub fn as_f32_mut(&mut self) -> &mut [f32] {
        // SAFETY: as for `as_f32`; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.bytes / 4) }
    }

    /// Returns the content as words of 32 bits.
    pub fn words(&self) -> &[u32] {
        // SAFETY: as for `as_f32`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.bytes / 4) }
    }

    /// Returns the content as words of 32 bits for writing.
    pub fn words_mut(&mut self) -> &mut [u32] {
        // SAFETY: as for `as_f32_mut`.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.bytes / 4) }
    }

    /// Returns the content as i32.
    pub fn as_i32(&self) -> &[i32] {
        // SAFETY: as for `as_f32`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.bytes / 4) }
    }

    /// Returns the content as i32 for writing.
    pub fn as_i32_mut(&mut self) -> &mut [i32] {
        // SAFETY: as for `as_f32_mut`.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.bytes / 4) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let layout =
                Layout::from_size_align(self.bytes, ALIGNMENT).expect("the layout it was allocated with");
            // SAFETY: allocated in `zeroed` with this layout.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffer, Memory};
    use crate::device::DeviceError;
    use crate::graph::TensorType;
    use crate::plan::ALIGNMENT;

    #[test]
    fn buffers_are_aligned_zeroed_and_refused_when_too_large() {
        let buffer = Buffer::zeroed(100, "a tensor").expect("a hundred bytes can be had");
        assert_eq!(buffer.start() as usize % ALIGNMENT, 0);
        assert_eq!(buffer.bytes(), 128);
        assert!(buffer.as_f32().iter().all(|&value| value == 0.0));
        for bytes in [usize::MAX, isize::MAX as usize] {
            let refused = Buffer::zeroed(bytes, "a tensor").err();
            assert_eq!(refused, Some(DeviceError::OutOfMemory { bytes, what: "`a tensor`".to_string() }));
        }
    }

    #[test]
    fn what_a_device_has_written_is_fetched_once_and_when_it_is_read() {
        let mut memory = Memory::default();
        let id = memory.allocate("x", &TensorType::f32(&[2])).expect("it is small");
        let version = memory.written_elsewhere(id);
        let failed = memory.fetched(id, |_| Err(DeviceError::Other("the cable is out".to_string())));
        assert_eq!(failed.expect_err("the device fails").to_string(), "the cable is out");
        for fetches in [1, 0] {
            let mut fetched = 0;
            let content = memory.fetched(id, |buffer| {
                fetched += 1;
                buffer.as_f32_mut()[..2].copy_from_slice(&[1.0, 2.0]);
                Ok(())
            });
            assert_eq!(content.expect("the device gives it").as_f32()[..2], [1.0, 2.0]);
            assert_eq!(fetched, fetches);
        }
        assert_eq!(memory.version(id), version, "reading is no write");
        memory.write(id).as_f32_mut()[0] = 3.0;
        assert_ne!(memory.version(id), version);
        assert_eq!(memory.content(id).as_f32()[..2], [3.0, 2.0]);
    }

    #[test]
    fn memory_of_one_name_is_shared() {
        let mut memory = Memory::default();
        let ty = TensorType::f32(&[3]);
        let ids = [0, 1].map(|_| memory.allocate("x", &ty).expect("it is small"));
        assert_eq!(ids[0], ids[1]);
        assert_eq!(memory.bytes(), ALIGNMENT);
        assert_eq!(memory.names().collect::<Vec<_>>(), [("x", &ty)]);
    }
}
