autocmd BufRead,BufNewFile *.hrm setlocal filetype=hrm commentstring=#\ %s
