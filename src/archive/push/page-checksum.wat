;; The checksum of PostgreSQL's pages, for many pages in a row.
;;
;; PostgreSQL's src/include/storage/checksum_impl.h: 32 FNV-1a sums side by side, one for each 32-bit column of a page seen as rows of 128 bytes, then two
;; rows of zeros, and the exclusive-or of all sums. Here the sums are eight vectors of four. The two bytes of the checksum itself count as zero; the
;; block's number is mixed in at the end, and the result is never 0.
;;
;; page-checksum-module.ts holds this module's bytes; `node scripts/assemble-wasm.ts` makes them, and a test holds the two together.
(module
  ;; Content of files on its way into a tar; the size never changes, so that views of it stay valid. Shared with the threads that pack it.
  (import "walkback" "memory" (memory 1 65536 shared))

  ;; The 16 bits that the page at $page should carry when it is block $block; $pageBytes is a multiple of 128.
  (func $checksum (export "checksum") (param $page i32) (param $pageBytes i32) (param $block i32) (result i32)
    (local $row i32) (local $end i32) (local $folded v128)
    (local $s0 v128) (local $s1 v128) (local $s2 v128) (local $s3 v128) (local $s4 v128) (local $s5 v128) (local $s6 v128) (local $s7 v128)
    (local.set $s0 (v128.const i32x4 0x5b1f36e9 0xb8525960 0x02ab50aa 0x1de66d2a))
    (local.set $s1 (v128.const i32x4 0x79ff467a 0x9bb9f8a3 0x217e7cd2 0x83e13d2c))
    (local.set $s2 (v128.const i32x4 0xf8d4474f 0xe39eb970 0x42c6ae16 0x993216fa))
    (local.set $s3 (v128.const i32x4 0x7b093b5d 0x98daff3c 0xf718902a 0x0b1c9cdb))
    (local.set $s4 (v128.const i32x4 0xe58f764b 0x187636bc 0x5d7b3bb1 0xe73de7de))
    (local.set $s5 (v128.const i32x4 0x92bec979 0xcca6c0b2 0x304a0979 0x85aa43d4))
    (local.set $s6 (v128.const i32x4 0x783125bb 0x6ca8eaa2 0xe407eac6 0x4b5cfc3e))
    (local.set $s7 (v128.const i32x4 0x9fbf8c76 0x15ca20be 0xf2ca9fd3 0x959bd756))
    (local.set $row (local.get $page))
    (local.set $end (i32.add (local.get $page) (local.get $pageBytes)))
    ;; pd_checksum is at byte 8 of the page: the lower half of the third column.
    (local.set $s0 
      (v128.xor
        (i32x4.mul (local.tee $folded (v128.xor (local.get $s0) (v128.and (v128.load offset=0 (local.get $row)) (v128.const i32x4 0xffffffff 0xffffffff 0xffff0000 0xffffffff)))) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193))
        (i32x4.shr_u (local.get $folded) (i32.const 17))))
    (local.set $s1 
      (v128.xor
        (i32x4.mul (local.tee $folded (v128.xor (local.get $s1) (v128.load offset=16 (local.get $row)))) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193))
        (i32x4.shr_u (local.get $folded) (i32.const 17))))
    (local.set $s2 
      (v128.xor
        (i32x4.mul (local.tee $folded (v128.xor (local.get $s2) (v128.load offset=32 (local.get $row)))) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193))
        (i32x4.shr_u (local.get $folded) (i32.const 17))))
    (local.set $s3 
      (v128.xor
        (i32x4.mul (local.tee $folded (v128.xor (local.get $s3) (v128.load offset=48 (local.get $row)))) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193))
        (i32x4.shr_u (local.get $folded) (i32.const 17))))
    (local.set $s4 
      (v128.xor
        (i32x4.mul (local.tee $folded (v128.xor (local.get $s4) (v128.load offset=64 (local.get $row)))) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193))
        (i32x4.shr_u (local.get $folded) (i32.const 17))))
    (local.set $s5 
      (v128.xor
        (i32x4.mul (local.tee $folded (v128.xor (local.get $s5) (v128.load offset=80 (local.get $row)))) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193))
        (i32x4.shr_u (local.get $folded) (i32.const 17))))
    (local.set $s6 
      (v128.xor
        (i32x4.mul (local.tee $folded (v128.xor (local.get $s6) (v128.load offset=96 (local.get $row)))) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193))
        (i32x4.shr_u (local.get $folded) (i32.const 17))))
    (local.set $s7 
      (v128.xor
        (i32x4.mul (local.tee $folded (v128.xor (local.get $s7) (v128.load offset=112 (local.get $row)))) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193))
        (i32x4.shr_u (local.get $folded) (i32.const 17))))
    (local.set $row (i32.add (local.get $row) (i32.const 128)))
    (loop $rows
    (local.set $s0 
      (v128.xor
        (i32x4.mul (local.tee $folded (v128.xor (local.get $s0) (v128.load offset=0 (local.get $row)))) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193))
        (i32x4.shr_u (local.get $folded) (i32.const 17))))
    (local.set $s1 
      (v128.xor
        (i32x4.mul (local.tee $folded (v128.xor (local.get $s1) (v128.load offset=16 (local.get $row)))) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193))
        (i32x4.shr_u (local.get $folded) (i32.const 17))))
    (local.set $s2 
      (v128.xor
        (i32x4.mul (local.tee $folded (v128.xor (local.get $s2) (v128.load offset=32 (local.get $row)))) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193))
        (i32x4.shr_u (local.get $folded) (i32.const 17))))
    (local.set $s3 
      (v128.xor
        (i32x4.mul (local.tee $folded (v128.xor (local.get $s3) (v128.load offset=48 (local.get $row)))) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193))
        (i32x4.shr_u (local.get $folded) (i32.const 17))))
    (local.set $s4 
      (v128.xor
        (i32x4.mul (local.tee $folded (v128.xor (local.get $s4) (v128.load offset=64 (local.get $row)))) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193))
        (i32x4.shr_u (local.get $folded) (i32.const 17))))
    (local.set $s5 
      (v128.xor
        (i32x4.mul (local.tee $folded (v128.xor (local.get $s5) (v128.load offset=80 (local.get $row)))) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193))
        (i32x4.shr_u (local.get $folded) (i32.const 17))))
    (local.set $s6 
      (v128.xor
        (i32x4.mul (local.tee $folded (v128.xor (local.get $s6) (v128.load offset=96 (local.get $row)))) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193))
        (i32x4.shr_u (local.get $folded) (i32.const 17))))
    (local.set $s7 
      (v128.xor
        (i32x4.mul (local.tee $folded (v128.xor (local.get $s7) (v128.load offset=112 (local.get $row)))) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193))
        (i32x4.shr_u (local.get $folded) (i32.const 17))))
      (local.set $row (i32.add (local.get $row) (i32.const 128)))
      (br_if $rows (i32.lt_u (local.get $row) (local.get $end))))
    ;; Two rows of zeros.
    (local.set $s0 (v128.xor (i32x4.mul (local.get $s0) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193)) (i32x4.shr_u (local.get $s0) (i32.const 17))))
    (local.set $s1 (v128.xor (i32x4.mul (local.get $s1) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193)) (i32x4.shr_u (local.get $s1) (i32.const 17))))
    (local.set $s2 (v128.xor (i32x4.mul (local.get $s2) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193)) (i32x4.shr_u (local.get $s2) (i32.const 17))))
    (local.set $s3 (v128.xor (i32x4.mul (local.get $s3) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193)) (i32x4.shr_u (local.get $s3) (i32.const 17))))
    (local.set $s4 (v128.xor (i32x4.mul (local.get $s4) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193)) (i32x4.shr_u (local.get $s4) (i32.const 17))))
    (local.set $s5 (v128.xor (i32x4.mul (local.get $s5) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193)) (i32x4.shr_u (local.get $s5) (i32.const 17))))
    (local.set $s6 (v128.xor (i32x4.mul (local.get $s6) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193)) (i32x4.shr_u (local.get $s6) (i32.const 17))))
    (local.set $s7 (v128.xor (i32x4.mul (local.get $s7) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193)) (i32x4.shr_u (local.get $s7) (i32.const 17))))
    (local.set $s0 (v128.xor (i32x4.mul (local.get $s0) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193)) (i32x4.shr_u (local.get $s0) (i32.const 17))))
    (local.set $s1 (v128.xor (i32x4.mul (local.get $s1) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193)) (i32x4.shr_u (local.get $s1) (i32.const 17))))
    (local.set $s2 (v128.xor (i32x4.mul (local.get $s2) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193)) (i32x4.shr_u (local.get $s2) (i32.const 17))))
    (local.set $s3 (v128.xor (i32x4.mul (local.get $s3) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193)) (i32x4.shr_u (local.get $s3) (i32.const 17))))
    (local.set $s4 (v128.xor (i32x4.mul (local.get $s4) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193)) (i32x4.shr_u (local.get $s4) (i32.const 17))))
    (local.set $s5 (v128.xor (i32x4.mul (local.get $s5) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193)) (i32x4.shr_u (local.get $s5) (i32.const 17))))
    (local.set $s6 (v128.xor (i32x4.mul (local.get $s6) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193)) (i32x4.shr_u (local.get $s6) (i32.const 17))))
    (local.set $s7 (v128.xor (i32x4.mul (local.get $s7) (v128.const i32x4 0x01000193 0x01000193 0x01000193 0x01000193)) (i32x4.shr_u (local.get $s7) (i32.const 17))))
    (local.set $folded
      (v128.xor
        (v128.xor (v128.xor (local.get $s0) (local.get $s1)) (v128.xor (local.get $s2) (local.get $s3)))
        (v128.xor (v128.xor (local.get $s4) (local.get $s5)) (v128.xor (local.get $s6) (local.get $s7)))))
    (i32.add
      (i32.rem_u
        (i32.xor
          (i32.xor
            (i32.xor (i32x4.extract_lane 0 (local.get $folded)) (i32x4.extract_lane 1 (local.get $folded)))
            (i32.xor (i32x4.extract_lane 2 (local.get $folded)) (i32x4.extract_lane 3 (local.get $folded))))
          (local.get $block))
        (i32.const 65535))
      (i32.const 1)))

  ;; How many of the $count pages from $page on are good before the first that is not; the first is block $block. A page that was never written (its
  ;; pd_upper, at byte 14, is 0) has no checksum and is good.
  (func (export "goodPages") (param $page i32) (param $count i32) (param $pageBytes i32) (param $block i32) (result i32)
    (local $good i32)
    (block $ended
      (loop $pages
        (br_if $ended (i32.ge_u (local.get $good) (local.get $count)))
        (if (i32.load16_u offset=14 (local.get $page))
          (then
            (br_if $ended
              (i32.ne
                (i32.load16_u offset=8 (local.get $page))
                (call $checksum (local.get $page) (local.get $pageBytes) (i32.add (local.get $block) (local.get $good)))))))
        (local.set $page (i32.add (local.get $page) (local.get $pageBytes)))
        (local.set $good (i32.add (local.get $good) (i32.const 1)))
        (br $pages)))
    (local.get $good)))
