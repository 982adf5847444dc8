# elvish completion for shmadm(1). At each TAB it asks shmadm for the candidates, so it offers the existing segments.

use str

set edit:completion:arg-completer[shmadm] = {|@words|
  var before = (- (count $words) 1)
  var found = []
  try {
    set found = [(shmadm completions elvish --words-before $before -- $@words 2>/dev/null)]
  } catch { }
  if (eq $found [:files]) {
    edit:complete-filename $@words
  } else {
    for line $found {
      var word explained = (str:split "\t" $line)
      edit:complex-candidate $word &display=(if (eq $explained '') { put $word } else { put $word' ('$explained')' })
    }
  }
}
