# bash completion for shmadm(1): asks the program itself what fits, so segments are those that exist.

_shmadm() {
    # bash takes id:5 and --color=never for three words each. shmadm does not: put together what no blank parts.
    local line=${COMP_LINE:0:COMP_POINT} words=() word i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((i == 0)) || [[ $line == [[:blank:]]* ]]; then
            line=${line#"${line%%[![:blank:]]*}"}
            words+=("")
        fi
        # What is right of the cursor does not count.
        [[ $line == "$word"* ]] || word=$line
        line=${line#"$word"}
        words[${#words[@]} - 1]+=$word
    done

    local program=${1/#\~\//$HOME/}
    type -P -- "$program" >/dev/null || program=shmadm
    local at=$((${#words[@]} - 1)) found
    found=$("$program" completions bash --words-before "$at" -- "${words[@]}" 2>/dev/null) || return
    if [[ $found == :files ]]; then
        compopt -o filenames -o default 2>/dev/null
        return
    fi

    # Only what follows the last : or = of the word is replaced.
    local word=${words[at]} current=$2
    local kept=${word%"$current"}
    [[ $COMP_WORDBREAKS == *[:=]* && $kept == *[:=] ]] || kept=
    while IFS= read -r word; do
        [[ $word ]] && COMPREPLY+=("${word#"$kept"}")
    done <<<"$found"
    # After these something follows without a blank.
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[:=/,] ]] && compopt -o nospace 2>/dev/null
}
complete -o nosort -F _shmadm shmadm 2>/dev/null || complete -F _shmadm shmadm
