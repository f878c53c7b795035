"""The library's own engine in the Play room: a GAN that trains in a process of its own while a page watches."""
