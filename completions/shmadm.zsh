#compdef shmadm
# zsh completion for shmadm(1): asks the program itself what fits, so segments are those that exist.

_shmadm() {
    local program=${words[1]/#\~\//$HOME/} line
    whence -p -- $program >/dev/null || program=shmadm
    local -a found described
    found=("${(@f)$($program completions zsh --words-before $((CURRENT - 1)) -- "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    if [[ $found[1] == :files ]]; then
        compset -P '--*='
        _files
        return
    fi
    for line in $found; do
        # _describe parts a word from what explains it at a colon, and takes a backslash away.
        described+=("${${${line%%$'\t'*}//\\/\\\\}//:/\\:}${${line#*$'\t'}:+:${line#*$'\t'}}")
    done
    (($#described)) && _describe -V shmadm described
}

# Loaded by compinit this file is the function's body, and is run for the first TAB; else it is sourced.
if [[ $funcstack[1] == _shmadm ]]; then
    _shmadm "$@"
else
    compdef _shmadm shmadm
fi
