//! A small file system of its own, to be filled.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Unmounted when dropped. Needs root.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of so many bytes in an empty folder.
    ///
    /// # Panics
    /// When this is not allowed.
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

    /// Leaves no room.
    ///
    /// # Panics
    /// When there is always more of it.
    pub fn fill(&self) {
        let full = std::fs::write(self.ballast(), vec![0; 64 << 20]);
        assert!(full.is_err(), "the disk is small");
    }

    /// Gives the room back.
    ///
    /// # Panics
    /// When it was not filled.
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("the ballast is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a file may still be open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
