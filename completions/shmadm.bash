# bash completion for shmadm(1). At each TAB it asks shmadm for the candidates, so it offers the existing segments.

# Sets REPLY to the word that bash reads from this part of a line, and QUOTE to the quote that is still open. It does
# no expansions.
_shmadm_unquote() {
    local i char
    REPLY= QUOTE=
    for ((i = 0; i < ${#1}; i++)); do
        char=${1:i:1}
        if [[ $char == "$QUOTE" ]]; then
            QUOTE=
        elif [[ $char == \\ && $QUOTE != \' ]]; then
            # Between double quotes, a backslash stands for itself unless one of these follows.
            [[ -z $QUOTE || ${1:i+1:1} == [\\\"\$\`] ]] && ((i++))
            REPLY+=${1:i:1}
        elif [[ -z $QUOTE && $char == [\'\"] ]]; then
            QUOTE=$char
        else
            REPLY+=$char
        fi
    done
}

# Sets REPLY to the text from which bash reads this word. The second argument is the open quote before it, or empty.
_shmadm_quote() {
    local i char
    REPLY=$1
    case $2 in
    \') REPLY=${1//\'/\'\\\'\'} ;;
    \")
        REPLY=
        for ((i = 0; i < ${#1}; i++)); do
            char=${1:i:1}
            case $char in
            [\\\"\$\`]) char=\\$char ;;
            # Bash expands history between double quotes, too, and a backslash does not prevent it there.
            !) char=\"\'!\'\" ;;
            esac
            REPLY+=$char
        done
        ;;
    *) [[ $1 == *[![:alnum:]:=/,._+%@-]* ]] && printf -v REPLY %q "$1" ;;
    esac
}

_shmadm() {
    # For bash, id:5 and --color=never are three words each. Join the words that no blank separates.
    local line=${COMP_LINE:0:COMP_POINT} words=() word i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((i == 0)) || [[ $line == [[:blank:]]* ]]; then
            line=${line#"${line%%[![:blank:]]*}"}
            words+=("")
        fi
        # Ignore the text after the cursor.
        [[ $line == "$word"* ]] || word=$line
        line=${line#"$word"}
        words[${#words[@]} - 1]+=$word
    done

    # Bash replaces only the text after the last : or = of the word, or after the open quote.
    local REPLY QUOTE at=$((${#words[@]} - 1)) found kept
    kept=${words[at]%"$2"}
    [[ $COMP_WORDBREAKS == *[:=]* && $kept == *[:=] ]] || kept=
    _shmadm_unquote "$kept"
    kept=$REPLY
    for ((i = 0; i <= at; i++)); do
        _shmadm_unquote "${words[i]}"
        words[i]=$REPLY
    done

    local program=${1/#\~\//$HOME/}
    type -P -- "$program" >/dev/null || program=shmadm
    found=$("$program" completions bash --words-before "$at" -- "${words[@]}" 2>/dev/null) || return
    if [[ $found == :files ]]; then
        compopt -o filenames -o default 2>/dev/null
        return
    fi

    while IFS= read -r word; do
        [[ $word ]] || continue
        _shmadm_quote "${word#"$kept"}" "$QUOTE"
        COMPREPLY+=("$REPLY")
    done <<<"$found"
    # More text follows these candidates without a blank.
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[:=/,] ]] && compopt -o nospace 2>/dev/null
}
complete -o nosort -F _shmadm shmadm 2>/dev/null || complete -F _shmadm shmadm
