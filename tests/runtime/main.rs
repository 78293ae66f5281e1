//! What happens around a program: datasets, policies of training, devices, and recorded models.

mod datasets;
mod devices;
mod official_format;
mod parity;
mod policies;
