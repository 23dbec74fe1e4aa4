/* SPDX-License-Identifier: MIT */
#include "store/tree/tempname.h"

#include <criterion/criterion.h>

Test(tempname, table)
{
    static const struct {
        const char *name;
        bool temporary;
    } cases[] = {
        {".notes.txt.swp", true},
        {".a.swx", true},
        {"4913", true},
        {"notes~", true},
        {"~", true},
        {".#lock", true},
        {"#auto#", true},
        {".photo.jpg.Ab3xYz", true},
        {".photo.jpg.000000", true},
        {"film.mkv.part", true},
        {"x.crdownload", true},
        {".goutputstream-X4Y7Z2", true},
        {".~lock.a.odt#", true},
        {"~$report.docx", true},
        {"sedA1b2C3", true},
        {".syncthing.film.tmp", true},
        {".nfs0001", true},
        {".fuse_hidden0000", true},
        {"notes.txt", false},
        {".bashrc", false},
        {".bashrc.backup", false},
        {".config.backup", false},
        {"swp", false},
        {".swp", false},
        {"a.swp", false},
        {"49131", false},
        {"part", false},
        {"sedation", false},
        {"sedating", false},
        {".git", false},
        {"C#", false},
        {"", false},
        {"a~b", false},
        {".photo.jpg.Ab3xY", false},
        {".photo.jpg.Ab3x-z", false},
        {"department", false},
        {"file.party", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_expect_eq(tempname(span_str(cases[i].name)), cases[i].temporary, "%s", cases[i].name);
    char longest[256];
    memset(longest, '.', sizeof longest);
    cr_expect_not(tempname(span_of(longest, 255)));
    longest[254] = '~';
    cr_expect(tempname(span_of(longest, 255)));
    cr_expect(tempname(span_of("\xff\0~", 3)));
}
