"""Operations of cells, one family a file."""
