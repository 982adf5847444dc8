# fish completion for shmadm(1). At each TAB it asks shmadm for the candidates, so it offers the existing segments.

function __shmadm_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    # The text is a word in fish's syntax, with quotes and backslashes. To read it, close an open quote.
    set -l raw (commandline --current-token --cut-at-cursor)
    set -l current (string unescape -- "$raw"; or string unescape -- "$raw\""; or string unescape -- "$raw'"; or echo "$raw")
    set -l program (string replace -r '^~/' ~/ -- $words[1])
    type -q -- $program; or set program shmadm
    set -l found ($program completions fish --words-before (count $words) -- $words "$current" 2>/dev/null)
    if test "$found" = :files
        # In --file=NAME, only NAME is a path.
        set -l option (string match -r -- '^--[^=]*=' "$current")
        for path in (__fish_complete_path (string replace -- "$option" '' "$current"))
            printf '%s%s\n' "$option" $path
        end
    else
        printf '%s\n' $found
    end
end
complete --command shmadm --no-files --keep-order --arguments '(__shmadm_complete)'
