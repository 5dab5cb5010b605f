;; A value is a set of lines: the merged value has every line of both, once, the earlier value's first.
;; The same function in Python is union_of_lines.py beside this file; docs/MERGE.md has the rules that both keep.
;;
;; It looks for each line in all lines so far. That is simple, and quadratic: two values of about 5 KB in short lines are the most that the
;; limit on instructions leaves room for. Beyond it every version is shown, as after any failure.
;;
;; union_of_lines.wasm is made of it by:
;;   python -c "import wasmtime as w; open('union_of_lines.wasm', 'wb').write(w.wat2wasm(open('union_of_lines.wat').read()))"

(module
  (memory (export "memory") 1)

  (global $free (mut i32) (i32.const 16)) ;; what lies from here on is free; never 0, which would mean that there is no room
  (global $out (mut i32) (i32.const 0))   ;; where the result begins
  (global $end (mut i32) (i32.const 0))   ;; and where it ends so far; each of its lines ends with a newline

  ;; Room for $size bytes, or 0. Nothing is ever given back: an instance lives for one merge.
  (func $alloc (export "alloc") (param $size i32) (result i32)
    (local $at i32)
    (local $missing i32)
    (if (i32.gt_u (local.get $size) (i32.const 0x1000000)) (then (return (i32.const 0))))
    (local.set $at (global.get $free))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    ;; pages that are missing, rounded up
    (local.set $missing
      (i32.sub
        (i32.shr_u (i32.add (global.get $free) (i32.const 0xffff)) (i32.const 16))
        (memory.size)))
    (if (i32.gt_s (local.get $missing) (i32.const 0))
      (then
        (if (i32.eq (memory.grow (local.get $missing)) (i32.const -1)) (then (return (i32.const 0))))))
    (local.get $at))

  ;; Is the line of $size bytes at $line one of the result's?
  (func $contains (param $line i32) (param $size i32) (result i32)
    (local $at i32)
    (local $same i32)
    (local.set $at (global.get $out))
    (block $none
      (loop $each
        (br_if $none (i32.ge_u (local.get $at) (global.get $end)))
        ;; How many bytes are the same? A line holds no newline, so this stops at the newline of the result's line at the latest.
        (local.set $same (i32.const 0))
        (block $differs
          (loop $next
            (br_if $differs (i32.ge_u (local.get $same) (local.get $size)))
            (br_if $differs
              (i32.ne
                (i32.load8_u (i32.add (local.get $at) (local.get $same)))
                (i32.load8_u (i32.add (local.get $line) (local.get $same)))))
            (local.set $same (i32.add (local.get $same) (i32.const 1)))
            (br $next)))
        (local.set $at (i32.add (local.get $at) (local.get $same)))
        (if (i32.and
              (i32.eq (local.get $same) (local.get $size))
              (i32.eq (i32.load8_u (local.get $at)) (i32.const 10)))
          (then (return (i32.const 1))))
        ;; to the result's next line
        (block $found
          (loop $skip
            (br_if $found (i32.eq (i32.load8_u (local.get $at)) (i32.const 10)))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $skip)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $each)))
    (i32.const 0))

  ;; Add those lines of a value to the result that it has not; empty ones are left out.
  (func $add (param $at i32) (param $size i32)
    (local $stop i32)
    (local $line i32)
    (local $length i32)
    (local.set $stop (i32.add (local.get $at) (local.get $size)))
    (block $done
      (loop $each
        (br_if $done (i32.ge_u (local.get $at) (local.get $stop)))
        (local.set $line (local.get $at))
        (block $found
          (loop $next
            (br_if $found (i32.ge_u (local.get $at) (local.get $stop)))
            (br_if $found (i32.eq (i32.load8_u (local.get $at)) (i32.const 10)))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $next)))
        (local.set $length (i32.sub (local.get $at) (local.get $line)))
        (local.set $at (i32.add (local.get $at) (i32.const 1))) ;; past the newline
        (br_if $each (i32.eqz (local.get $length)))
        (br_if $each (call $contains (local.get $line) (local.get $length)))
        (memory.copy (global.get $end) (local.get $line) (local.get $length))
        (global.set $end (i32.add (global.get $end) (local.get $length)))
        (i32.store8 (global.get $end) (i32.const 10))
        (global.set $end (i32.add (global.get $end) (i32.const 1)))
        (br $each))))

  ;; Address and length as one result.
  (func $pack (param $at i32) (param $size i32) (result i64)
    (i64.or
      (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32))
      (i64.extend_i32_u (local.get $size))))

  (func (export "merge")
    (param $key i32) (param $key_size i32)
    (param $earlier i32) (param $earlier_size i32)
    (param $later i32) (param $later_size i32)
    (result i64)
    ;; a length of -1: deleted; if both were, so is the result
    (if (i32.eq (local.get $earlier_size) (i32.const -1))
      (then (return (call $pack (local.get $later) (local.get $later_size)))))
    (if (i32.eq (local.get $later_size) (i32.const -1))
      (then (return (call $pack (local.get $earlier) (local.get $earlier_size)))))
    ;; at most a newline more than each value has
    (global.set $out
      (call $alloc (i32.add (i32.add (local.get $earlier_size) (local.get $later_size)) (i32.const 2))))
    (if (i32.eqz (global.get $out)) (then (unreachable)))
    (global.set $end (global.get $out))
    (call $add (local.get $earlier) (local.get $earlier_size))
    (call $add (local.get $later) (local.get $later_size))
    (call $pack (global.get $out) (i32.sub (global.get $end) (global.get $out)))))
