"""Pictures: grids of images, films, maps and plots, and results that a notebook displays."""
