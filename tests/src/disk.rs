//! A small file system that a test can fill.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The file system. It is unmounted when dropped. It needs root.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a file system of `bytes` bytes in an empty folder.
    ///
    /// # Panics
    /// Panics if mounting is not allowed.
    #[must_use]
    pub fn mount(place: &Path, bytes: u64) -> Self {
        let size = format!("size={bytes}");
        let place = place.to_owned();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&place);
        let status = mount.status().expect("mount can be started");
        assert!(status.success(), "a small file system needs root: {status}");
        Self(place)
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Fills the file system.
    ///
    /// # Panics
    /// Panics if the file system has more than 64 MiB.
    pub fn fill(&self) {
        let full = std::fs::write(self.ballast(), vec![0; 64 << 20]);
        assert!(full.is_err(), "the disk is small");
    }

    /// Frees the space again.
    ///
    /// # Panics
    /// Panics if the file system was not filled.
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("the disk was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The unmount is lazy because a file may still be open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
