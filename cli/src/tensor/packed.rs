//! A compressed member of an archive: read from its beginning, and held against its checksum.

use std::io::{self, Read};

use flate2::read::DeflateDecoder;
use rawzip::{RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipArchiveEntryWayfinder, ZipLocator};

use super::stored::{Region, Stored};

/// Where it is.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    pub(super) archive: Stored,
    pub(super) entry: ZipArchiveEntryWayfinder,
    /// Bytes of a header before the elements.
    pub(super) skip: u64,
    /// Bytes of the elements.
    pub(super) bytes: u64,
}

/// No deflated byte stands for more.
pub(super) const MOST: u64 = 1032;

/// Opens the archive that is all of `stored`. `buffer` is as long as the format wants it.
pub(super) fn open(stored: &Stored, buffer: &mut [u8]) -> io::Result<ZipArchive<Region>> {
    ZipLocator::new()
        .locate_in_reader(stored.open()?, buffer, stored.bytes)
        .map_err(|(_, error)| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// What [`open`] and its entries are read with.
pub(super) fn buffer() -> Vec<u8> {
    vec![0; RECOMMENDED_BUFFER_SIZE]
}

impl Packed {
    /// Hands the elements to `read`, which is to read all of them.
    pub(super) fn with<R>(&self, read: impl FnOnce(&mut dyn Read) -> io::Result<R>) -> io::Result<R> {
        let archive = open(&self.archive, &mut buffer())?;
        let entry = archive.get_entry(self.entry).map_err(io::Error::other)?;
        let mut reader = entry.verifying_reader(DeflateDecoder::new(entry.reader()));
        io::copy(&mut reader.by_ref().take(self.skip), &mut io::sink())?;
        let result = read(&mut reader)?;
        // At its end the checksum is looked at.
        io::copy(&mut reader, &mut io::sink())?;
        Ok(result)
    }
}
