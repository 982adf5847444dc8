#compdef shmadm
# zsh completion for shmadm(1). At each TAB it asks shmadm for the candidates, so it offers the existing segments.

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
        # _describe splits a candidate from its description at a colon, and removes backslashes.
        described+=("${${${line%%$'\t'*}//\\/\\\\}//:/\\:}${${line#*$'\t'}:+:${line#*$'\t'}}")
    done
    (($#described)) && _describe -V shmadm described
}

# compinit loads this file as the function's body and runs it at the first TAB. Otherwise the file is sourced.
if [[ $funcstack[1] == _shmadm ]]; then
    _shmadm "$@"
else
    compdef _shmadm shmadm
fi
